"""The state of a machine as text, including GPUs that are not here."""

from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_reader import CardReading, MachineReading, Use
from rbp_tui.dashboard.system.panel import CORES, machine_text, use_rows

GIB = 2**30
RUNS = Path("/runs")
H100 = CardReading(
    0, "NVIDIA H100 80GB HBM3", 41 * GIB, 80 * GIB, 0.97, 312.0, 61.0, ((11, 38 * GIB), (12, 2 * GIB), (99, GIB))
)
IDLE = CardReading(1, "NVIDIA H100 80GB HBM3", GIB, 80 * GIB, None, None, None)
BROKEN = CardReading(2, problem="GPU is lost")
MACHINE = MachineReading(
    (), "NVML Shared Library Not Found", (0.0, 1.0), (1.5, 1.0, 0.5), 8 * GIB, 32 * GIB, 100 * GIB, 400 * GIB, ()
)


def run(name: str, status: str) -> RunRecord:
    folder = RunDirectory(RUNS / f"20260101-120000-digits-bptt-{name}")
    return RunRecord(folder, Summary(folder.id, "digits", "e", "bptt", 4, 1), Verdict(status, ""))


def use(record: RunRecord, *pids: int) -> Use:
    return Use(record.run, frozenset(pids), len(pids) * GIB, 1.5)


def words(cells: tuple[object, ...]) -> list[str]:
    return [str(cell) for cell in cells]


def test_a_card_shows_its_memory_load_and_users() -> None:
    machine = replace(MACHINE, cards=(H100, IDLE, BROKEN), no_cards="")
    first, second, third, *_ = machine_text(machine, {11: "a1b2", 12: "a1b2"}, "runs").plain.splitlines()
    assert first.split("━")[0].split() == ["gpu0", "H100", "80GB", "HBM3"]
    assert "41.0 of 80.0 GiB" in first and "97 % busy" in first and "312 W" in first and "61 °C" in first
    assert "a1b2 1 other" in first and "nobody" in second and "busy" not in second
    assert third.split() == ["gpu2", "GPU", "is", "lost"]
    assert len(first.partition("  312 W")[0]) <= 78  # of the 80 columns


def test_without_a_card_the_reason_is_shown() -> None:
    assert "none: NVML Shared Library Not Found" in machine_text(MACHINE, {}, "runs").plain


def test_processor_memory_and_disk() -> None:
    cpu, cores, memory, disk = machine_text(MACHINE, {}, "/data/runs").plain.splitlines()[1:]
    assert "50 % of 2 cores, load 1.5 1.0 0.5" in cpu and cores.split() == ["▁█"]
    assert memory.endswith("8.0 GiB of 32.0 GiB") and "100.0 GiB free of 400.0 GiB /data/runs" in disk
    assert "disk" not in machine_text(replace(MACHINE, disk_free=None, disk_total=None), {}, "").plain


def test_many_cores_take_several_lines() -> None:
    lines = machine_text(replace(MACHINE, cores=(0.5,) * (2 * CORES + 3)), {}, "").plain.splitlines()[2:-2]
    assert [len(line.strip()) for line in lines] == [CORES, CORES, 3]


def test_runs_are_listed_with_their_usage_and_devices() -> None:
    one, other = run("a1b2", "running"), run("c3d4", "running")
    machine = replace(
        MACHINE, cards=(H100, replace(IDLE, processes=((12, 0),))), uses=(use(one, 11, 12), use(other, 13))
    )
    rows = use_rows(machine, [one, other], {})
    assert words(rows[str(one.run.path)])[1:] == ["digits", "a1b2", "2", "2.0 GiB", "1.5", "gpu0 40.0 GiB, gpu1"]
    assert words(rows[str(other.run.path)])[3:] == ["1", "1.0 GiB", "1.5", "–"]


@pytest.mark.parametrize(
    ("status", "host", "said"),
    [
        ("running", "", "process gone"),
        ("running", "node7", "on host node7"),
        ("running", None, "reading…"),
        ("queued", None, "queued"),
    ],
)
def test_a_live_run_without_a_process_here_says_why(status: str, host: str | None, said: str) -> None:
    record = run("a1b2", status)
    hosts = {} if host is None else {record.run.id: host}
    rows = use_rows(MACHINE, [record, run("c3d4", "completed")], hosts)
    (cells,) = rows.values()
    assert words(cells)[-1] == said


def test_lost_runs_with_processes_and_runs_of_other_directories_are_listed() -> None:
    lost, elsewhere = run("a1b2", "lost"), Use(RunDirectory(Path("/home/other/runs/mine")), frozenset({5}), GIB, 0.0)
    rows = use_rows(replace(MACHINE, uses=(use(lost, 4), elsewhere)), [lost], {})
    assert [words(cells)[1:4] for cells in rows.values()] == [["digits", "a1b2", "1"], ["mine", "elsewhere", "1"]]
