"""The state of a machine as text, including GPUs that are not here."""

from dataclasses import replace
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.queue.observe import DeviceUse
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_watch import CardReading, Cards, MachineReading, Use
from rbp_tui.dashboard.system.system_screen import machine_lines, use_rows
from rbp_tui.text.run_text import PAUSED, queue_text

GIB = 2**30
RUNS = Path("/runs")
H100 = CardReading(0, "NVIDIA H100 80GB HBM3", 41 * GIB, 80 * GIB, 0.97, ((11, 38 * GIB), (12, 2 * GIB), (99, GIB)))
IDLE = CardReading(1, "NVIDIA H100 80GB HBM3", GIB, 80 * GIB, None)
BROKEN = CardReading(2, problem="GPU is lost")
NO_CARDS = Cards(none_because="NVML Shared Library Not Found")
MACHINE = MachineReading(NO_CARDS, (0.0, 1.0), 8 * GIB, 32 * GIB, 100 * GIB, ())


def run(name, status):
    folder = RunDirectory(RUNS / f"20260101-120000-digits-bptt-{name}")
    return RunRecord(folder, Summary(folder.id, "digits", "e", "bptt", 4, 1), Verdict(status, ""))


def use(record, *pids):
    return Use(record.run, frozenset(pids), len(pids) * GIB, 1.5)


def words(cells):
    return [str(cell) for cell in cells]


def lines(machine):
    return [line.plain for line in machine_lines(machine, None)]


def test_a_card_shows_its_memory_and_load():
    said = lines(replace(MACHINE, gpus=Cards((H100, IDLE, BROKEN))))[-3:]
    assert [line.split(maxsplit=1) for line in said] == [
        ["gpu0", "41.0 of 80.0 GiB  97 % busy  H100 80GB HBM3"],
        ["gpu1", "1.0 of 80.0 GiB  H100 80GB HBM3"],
        ["gpu2", "GPU is lost"],
    ]


def test_a_driver_that_does_not_answer_is_named_with_the_time():
    said = lines(replace(MACHINE, gpus=replace(NO_CARDS, silent_s=75.0)))[-1]
    assert "the NVIDIA driver has not answered for 1m15" in said and "rbp doctor" in said


def test_devices_that_the_queue_can_give_are_counted_and_their_holders_named():
    free = [DeviceUse("cpu-0", "cpu 0")]
    taken = [DeviceUse(f"cpu-{n}", f"cpu {n}", run=f"20260101-120000-digits-bptt-aaa{n}") for n in (1, 2)]
    line = machine_lines(MACHINE, queue_text(free, paused=False))[-1].plain
    assert line == "queue   1 of 1 devices free for waiting runs"
    line = queue_text([*taken, *free, DeviceUse("x", "card 1", others="user bob")], paused=True).plain
    holders = "aaa1 has cpu 1, aaa2 has cpu 2, user bob has card 1"
    assert line == f"{PAUSED} · 1 of 4 devices free for waiting runs: {holders}"


def test_runs_are_listed_with_their_usage_and_devices():
    one, other = run("a1b2", "running"), run("c3d4", "running")
    cards, uses = Cards((H100, replace(IDLE, processes=((12, 0),)))), (use(one, 11, 12), use(other, 13))
    rows = use_rows(replace(MACHINE, gpus=cards, uses=uses), [one, other], 80)
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
def test_a_live_run_without_a_process_here_says_why(status, host, said):
    record = run("a1b2", status)
    hosts = {} if host is None else {record.run.id: host}
    rows = use_rows(replace(MACHINE, hosts=hosts), [record, run("c3d4", "completed")], 80)
    (cells,) = rows.values()
    assert words(cells)[-1] == said


def test_lost_runs_with_processes_and_runs_of_other_directories_are_listed():
    lost, elsewhere = run("a1b2", "lost"), Use(RunDirectory(Path("/home/other/runs/mine")), frozenset({5}), GIB, 0.0)
    rows = use_rows(replace(MACHINE, uses=(use(lost, 4), elsewhere)), [lost], 80)
    assert [words(cells)[1:4] for cells in rows.values()] == [["digits", "a1b2", "1"], ["mine", "elsewhere", "1"]]
