"""Which run had which device, read from events, and as a timeline."""

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.cells import cell_len

from rbp_engine.run.files.event_writer import EventWriter
from rbp_engine.run.files.events import Heartbeat, RunStart
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord, list_runs
from rbp_tui.dashboard.reading.machine_reader import MachineReading
from rbp_tui.dashboard.reading.run_sizes import RunSizes
from rbp_tui.dashboard.reading.stays import Stay, StayReader
from rbp_tui.dashboard.system.disk_text import disk_lines
from rbp_tui.dashboard.system.timeline import timeline_lines
from tests.run_files import write_attempt

NOW = 1.7e9
HOUR = 3600.0


@pytest.fixture
def read(tmp_path: Path, write_run: Callable[..., RunDirectory]) -> Callable[..., list[Stay]]:
    """Write a run with attempts as (start, end, run_start), in hours before now, and read its stays of the last day."""

    def made(*attempts: tuple[float, float, RunStart], devices: tuple[int, ...] = ()) -> list[Stay]:
        run = write_run(tmp_path / "runs", "digits-a1b2", updated=NOW - HOUR * attempts[-1][1])
        for number, (start, end, body) in enumerate(attempts, start=1):
            write_attempt(run, number, resources={"devices": list(devices)})
            writer = EventWriter(run.events(), number)
            writer.write(body, 0, now=NOW - HOUR * start)
            writer.write(Heartbeat(), 1, now=NOW - HOUR * end)
            writer.close()
        stays, more = StayReader().read(list_runs(tmp_path / "runs"), NOW - 24 * HOUR, NOW, 5.0)
        assert not more
        return stays

    return made


def hours(stays: list[Stay]) -> list[tuple[float, float]]:
    return [(round((NOW - stay.start) / HOUR, 3), round((NOW - stay.end) / HOUR, 3)) for stay in stays]


def test_each_attempt_is_a_stay_from_its_start_to_its_last_sign_of_life(read: Callable[..., list[Stay]]) -> None:
    stays = read((9, 8, RunStart(device="cpu")), (3, 1, RunStart(device="cpu")))
    assert hours(stays) == [(9, 8), (3, 1)]
    assert [(stay.devices, stay.last) for stay in stays] == [(("cpu",), False), (("cpu",), True)]


def test_what_was_over_a_day_ago_is_left_out(read: Callable[..., list[Stay]]) -> None:
    assert hours(read((50, 40, RunStart(device="cpu")), (30, 20, RunStart(device="cpu")))) == [(30, 20)]


@pytest.mark.parametrize(
    ("start", "seen", "devices"),
    [
        (RunStart(device="NVIDIA A100 (cuda:0)"), (), ("gpu0",)),
        (RunStart(device="NVIDIA A100 (cuda:0)"), (3,), ("gpu3",)),
        (RunStart(device="NVIDIA A100 (cuda:0)", world_size=2), (2, 5), ("gpu2", "gpu5")),
        (RunStart(device="cpu", host="node7"), (), ("node7 cpu",)),
        (RunStart(device="cpu", host=socket.gethostname()), (), ("cpu",)),
        (RunStart(), (), ("cpu",)),
    ],
)
def test_devices_are_those_that_the_queue_gave_else_those_of_the_events(
    read: Callable[..., list[Stay]], start: RunStart, seen: tuple[int, ...], devices: tuple[str, ...]
) -> None:
    (stay,) = read((2, 1, start), devices=seen)
    assert stay.devices == devices


def test_a_run_that_has_ended_is_read_once(tmp_path: Path, write_run: Callable[..., RunDirectory]) -> None:
    run = write_run(tmp_path, "one", updated=NOW, bodies=(RunStart(device="cpu"), Heartbeat()))
    reader, records = StayReader(), list_runs(tmp_path)
    first, _ = reader.read(records, NOW - HOUR, NOW, 5.0)
    run.events().unlink()
    assert reader.read(records, NOW - HOUR, NOW, 5.0) == (first, False) and first


def test_what_does_not_fit_into_a_turn_is_read_in_the_next(
    tmp_path: Path, write_run: Callable[..., RunDirectory]
) -> None:
    for name in ("one", "two"):
        write_run(tmp_path, name, updated=NOW, bodies=(RunStart(device="cpu"), Heartbeat()))
    reader, records = StayReader(), list_runs(tmp_path)
    assert reader.read(records, NOW - HOUR, NOW, -1.0) == ([], True)
    assert len(reader.read(records, NOW - HOUR, NOW, 5.0)[0]) == 2


def record(write_run: Callable[..., RunDirectory], runs: Path, name: str) -> RunRecord:
    write_run(runs, name, updated=NOW)
    return next(one for one in list_runs(runs) if one.run.id == name)


@pytest.mark.parametrize("width", [20, 40, 56, 78, 100, 160])
def test_the_timeline_has_a_line_for_each_device_and_run(
    width: int, tmp_path: Path, write_run: Callable[..., RunDirectory], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    runs = {name: record(write_run, tmp_path, name) for name in ("x-a1b2", "y-c3d4")}
    stays = [
        Stay("x-a1b2", 1, ("gpu0",), NOW - 10 * HOUR, NOW - 6 * HOUR, False),
        Stay("x-a1b2", 2, ("gpu0",), NOW - 5 * HOUR, NOW - 4 * HOUR, True),
        Stay("y-c3d4", 1, ("gpu0", "gpu1"), NOW - 3 * HOUR, NOW, True),
    ]
    lines = [line.plain for line in timeline_lines(stays, runs, NOW, width, left_at=NOW - 11 * HOUR)]
    assert lines[0].startswith("who used what  last 12 h · ┊ you left at 11:13")
    gpu0, newer, older, gpu1, again = lines[2:]
    assert gpu0.startswith("gpu0  2 runs") and "8h00" in gpu0 and gpu1.startswith("gpu1  1 run") and "3h00" in gpu1
    assert "c3d4" in newer and "c3d4" in again and "a1b2" in older and "5h00" in older
    if width >= 40:
        assert max(cell_len(line) for line in lines[1:]) <= width
        assert {"┊", "█", "·"} <= set(older)
    if width >= 90:
        assert "12:13–18:13" in older


def test_an_id_that_is_too_long_for_its_column_is_cut_with_a_sign(
    tmp_path: Path, write_run: Callable[..., RunDirectory]
) -> None:
    runs = {"first": record(write_run, tmp_path, "first")}
    *_, used = timeline_lines([Stay("first", 1, ("cpu",), NOW - HOUR, NOW, False)], runs, NOW, 80, left_at=NOW)
    nothing = MachineReading((), "", (), (0.0, 0.0, 0.0), 0, 0, None, None, ())
    *_, size = disk_lines(RunSizes({"first": 2**20}, 0, 0), nothing, runs, tmp_path, 80, 5)
    assert " fir… " in used.plain and " fir… " in size.plain
