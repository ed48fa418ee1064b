"""The state of a machine as text, including GPUs that are not here."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.cards import CardReading
from rbp_tui.dashboard.reading.machine_history import MachineHistory
from rbp_tui.dashboard.reading.machine_reader import MachineReading, Use
from rbp_tui.dashboard.system.tracks import cores_line, device_lines, grid_for
from rbp_tui.dashboard.system.uses import use_rows

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


def lines(machine: MachineReading, names: dict[int, str] | None = None, width: int = 78, tall: int = 1) -> list[str]:
    history = MachineHistory()
    for t in range(0, 120, 2):
        history.add(machine, 1000.0 + t)
    grid = grid_for(len(machine.cores), width, tall)
    return [line.plain for line in device_lines(machine, history.tracks(120.0, grid.parts), names or {}, grid)]


def line_of(label: str, said: list[str]) -> str:
    return next(line for line in said if line.startswith(label))


def test_a_card_shows_its_memory_load_and_users() -> None:
    said = lines(replace(MACHINE, cards=(H100, IDLE, BROKEN), no_cards=""), {11: "a1b2", 12: "a1b2"})
    first, memory, second, of_second, third = said[:5]
    assert first.startswith("gpu0") and "97 %  H100 80GB HBM3  312 W  61 °C" in first
    assert "51 %  41.0 of 80.0 GiB  a1b2 1 other" in memory
    assert second.startswith("gpu1") and "–  H100" in second and "1.0 of 80.0 GiB  nobody" in of_second
    assert third.split() == ["gpu2", "GPU", "is", "lost"]


def test_without_a_card_the_reason_is_shown() -> None:
    assert "none: NVML Shared Library Not Found" in lines(MACHINE)[0]


def test_a_driver_that_does_not_answer_is_told_with_the_time_and_everything_else_is_shown() -> None:
    said = lines(replace(MACHINE, silent_s=75.0))
    assert "the NVIDIA driver has not answered for 1m15" in said[0] and "rbp doctor" in said[0]
    assert line_of("core 1", said).endswith("100 %")


def test_each_core_memory_and_the_disk_have_a_line_with_history_and_value() -> None:
    idle, busy = (line_of(name, lines(MACHINE)) for name in ("core 0", "core 1"))
    assert idle.endswith("⣀   0 %") and busy.endswith("⣿ 100 %")
    assert line_of("memory", lines(MACHINE)).endswith("⣀  25 %  8.0 GiB of 32.0 GiB")
    assert line_of("disk", lines(MACHINE)).endswith("⣶  75 %  100.0 GiB free")
    assert not any(line.startswith("disk") for line in lines(replace(MACHINE, disk_free=None, disk_total=None)))
    assert "3 MiB/s  peak 3 MiB/s" in line_of("traffic", lines(replace(MACHINE, traffic=3 * 2.0**20)))


def test_all_histories_are_equally_wide_so_that_the_same_place_is_the_same_time() -> None:
    machine = replace(MACHINE, traffic=1.0, cards=(H100,), no_cards="")
    drawn = [re.search("[·⣀-⣿]+", line) for line in lines(machine)]
    assert {found.span() for found in drawn if found} == {(8, 50)} and len(drawn) == 7


@pytest.mark.parametrize("cores", [1, 2, 8, 16, 64, 200])
@pytest.mark.parametrize("width", [20, 40, 56, 78, 120])
def test_every_core_is_named_and_fits_into_the_width(cores: int, width: int) -> None:
    said = "\n".join(lines(replace(MACHINE, cores=(0.5,) * cores), width=width, tall=200))
    assert all(f"core {number}"[:8] in said for number in range(cores))
    if width >= 56:
        assert max(len(line) for line in said.splitlines()[1:]) <= width


def test_many_cores_in_few_lines_have_their_mean_and_a_block_each() -> None:
    said = lines(replace(MACHINE, cores=(0.5, 1.0) * 32))
    assert line_of("cores", said).endswith("75 %")
    assert [line.split() for line in said[2:4]] == [
        ["0–41", "▅█" * 21, "each", "now"],
        ["42–63", "▅█" * 11, "each", "now"],
    ]


def test_with_room_a_core_has_several_rows() -> None:
    flat, tall = lines(MACHINE), lines(MACHINE, tall=8)
    assert len(tall) == len(flat) + 2 * 3
    assert sum("⣿" in line for line in tall) == 3  # the busy core, and an empty row above it


def test_the_share_of_the_cores_that_runs_keep_busy_is_told() -> None:
    one = run("a1b2", "running")
    assert "1.0 of 2 cores busy, load 1.5" in cores_line(MACHINE, 120.0).plain
    used = replace(MACHINE, uses=(use(one, 1),))
    assert "last 2 min  1.0 of 2 cores busy, 1.5 by runs" in cores_line(used, 120.0).plain


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
