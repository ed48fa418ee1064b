"""Claims on devices by real processes: a device never belongs to two runs, and is never lost for good."""

import json
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue import claims
from rbp_engine.run.queue.devices import Device
from rbp_engine.run.queue.host_lock import locked

MakeRun = Callable[..., RunDirectory]
DEVICES = [Device(f"cpu-{number}") for number in range(3)]
RACERS = 4
TRIALS = 60
# fork, so that the racers start quickly and inherit what a test has made.
FORK = multiprocessing.get_context("fork")


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.fixture
def gone(make_run: MakeRun, ended_pid: int) -> Iterator[Callable[[str], RunDirectory]]:
    """Make a run without any process left."""
    return lambda name: make_run(name, attempt={"pid": ended_pid})  # type: ignore[return-value]


def take(run: RunDirectory, count: int = 1, devices: list[Device] = DEVICES) -> list[str]:
    """Claim as many of the devices as a run needs if they are free, as a dispatcher does."""
    with locked():
        taken = {key for key, folder in claims.live_claims().items() if folder != str(run.path.resolve())}
        free = [device.key for device in devices if device.key not in taken]
        mine = claims.claimed_by(run)
        chosen = sorted(free, key=lambda key: key not in mine)[:count]
        return chosen if len(chosen) == count and claims.take(run, chosen) else []


def claim_and_die(run: RunDirectory, count: int = 1) -> None:
    """Let another process claim devices and die without releasing them, like a killed dispatcher."""
    process = FORK.Process(target=lambda: (take(run, count), os.kill(os.getpid(), signal.SIGKILL)))
    process.start()
    process.join(60)


@pytest.mark.parametrize("content", ["", "{}", '{"run": "'])
def test_a_claim_emptied_by_a_power_loss_is_free(make_run: MakeRun, content: str) -> None:
    (claims.claims_directory() / "cpu-0").write_text(content)
    os.utime(claims.claims_directory() / "cpu-0", (time.time() + 3600, time.time() + 3600))
    assert take(make_run("run")) == ["cpu-0"]


def test_a_claim_of_a_lost_start_from_when_the_clock_was_ahead_is_free(make_run: MakeRun) -> None:
    """The power loss came before the run was recorded, and since then the clock is an hour behind."""
    ahead = time.time() + 3600
    lost = make_run("lost", attempt={}, status="starting", created=ahead, progressed=ahead, updated=ahead)
    claim_and_die(lost)
    assert claims.claimed_by(lost) == ["cpu-0"]
    assert take(make_run("run")) == ["cpu-0"]


def test_a_run_takes_the_devices_that_it_needs_and_releases_them(make_run: MakeRun) -> None:
    first, second = make_run("first"), make_run("second")
    assert take(first, 2) == ["cpu-0", "cpu-1"]
    assert take(second, 2) == []  # and it does not keep the only free one
    assert take(second) == ["cpu-2"]
    with locked():
        claims.release(first)
    assert claims.claimed_by(first) == [] and claims.claimed_by(second) == ["cpu-2"]
    assert take(make_run("third"), 2) == ["cpu-0", "cpu-1"]


def test_a_run_that_asks_again_gets_the_same_devices(make_run: MakeRun) -> None:
    run = make_run("first")
    assert take(run, 2) == take(run, 2) == ["cpu-0", "cpu-1"]


def test_a_run_claims_all_of_its_devices_or_none(make_run: MakeRun) -> None:
    first, second = make_run("first"), make_run("second")
    with locked():
        assert claims.take(first, ["cpu-1"])
        assert not claims.take(second, ["cpu-0", "cpu-1"])
        assert claims.claimed_by(second) == []
        assert claims.take(first, ["cpu-0", "cpu-2"])  # instead of what it had, as after a dispatcher that has died
    assert claims.holders() == dict.fromkeys(["cpu-0", "cpu-2"], str(first.path.resolve()))


def test_a_claim_outlives_its_maker_as_long_as_the_run_lives(make_run: MakeRun, sleeper: Any) -> None:
    live = make_run("live")  # its worker is this process
    claim_and_die(live)
    assert take(make_run("other"), devices=DEVICES[:1]) == []

    worker = sleeper(left := make_run("left", status="failed"))  # it has ended, but one of its processes still exists
    claim_and_die(left)
    assert claims.claimed_by(left) == ["cpu-1"]
    assert take(make_run("another"), devices=DEVICES[1:2]) == []
    worker.kill()
    worker.wait(60)
    assert claims.stale_claims() == ["cpu-1"]
    assert take(RunDirectory(left.path.with_name("another")), devices=DEVICES[1:2]) == ["cpu-1"]


def test_a_claim_whose_run_and_maker_are_gone_is_taken_over(
    gone: Callable[[str], RunDirectory], make_run: MakeRun
) -> None:
    claim_and_die(run := gone("gone"), count=3)
    assert claims.stale_claims() == ["cpu-0", "cpu-1", "cpu-2"]
    assert Path(claims.holders()["cpu-0"]).name == run.id
    assert take(other := make_run("other"), 2) == ["cpu-0", "cpu-1"]
    assert Path(claims.holders()["cpu-0"]).name == other.id and Path(claims.holders()["cpu-2"]).name == run.id


def test_a_reused_pid_is_not_the_maker(gone: Callable[[str], RunDirectory], make_run: MakeRun) -> None:
    take(run := gone("gone"))
    path = claims.claims_directory() / "cpu-0"
    claim = json.loads(path.read_text())
    assert claim["run"] == str(run.path.resolve())
    assert claims.stale_claims() == []  # this process made it and is alive
    path.write_text(json.dumps(claim | {"process": claim["process"] | {"started": 7}}))
    assert claims.stale_claims() == ["cpu-0"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run": 7}'])
def test_a_damaged_claim_is_taken_over(make_run: MakeRun, content: str) -> None:
    (claims.claims_directory() / "cpu-0").write_text(content)
    assert "cpu-0" not in claims.holders()
    assert take(make_run("first")) == ["cpu-0"]


def test_a_claim_of_a_run_whose_folder_is_gone_is_taken_over(
    gone: Callable[[str], RunDirectory], make_run: MakeRun
) -> None:
    claim_and_die(RunDirectory(Path("/nowhere/runs/x")))
    assert take(make_run("first")) == ["cpu-0"]


def race(number: int, runs: list[RunDirectory], start: Barrier, taken: Any) -> None:
    """A manager: asks for a device many times, at the same moment as the others, and reports what it got."""
    for trial in range(TRIALS):
        start.wait(60)
        taken.put((trial, number, take(runs[number])))
        start.wait(60)
        with locked():
            claims.release(runs[number])


def test_managers_that_ask_simultaneously_never_get_the_same_device(make_run: MakeRun) -> None:
    """Four managers ask for three devices, sixty times, each time with all of them free."""
    runs = [make_run(f"run-{number}") for number in range(RACERS)]
    assert outcomes(runs) == [(sorted(["cpu-0", "cpu-1", "cpu-2"]), 1)] * TRIALS


def outcomes(runs: list[RunDirectory]) -> list[tuple[list[str], int]]:
    """For each trial, the devices that were given out, and the number of managers without one."""
    start, taken = FORK.Barrier(RACERS), FORK.Queue()
    racers = [FORK.Process(target=race, args=(number, runs, start, taken)) for number in range(RACERS)]
    for racer in racers:
        racer.start()
    claimed = [taken.get(timeout=60) for _ in range(TRIALS * RACERS)]
    for racer in racers:
        racer.join(60)
        assert racer.exitcode == 0
    found = []
    for trial in range(TRIALS):
        given = [keys for number, _, keys in claimed if number == trial]
        found.append((sorted(key for keys in given for key in keys), given.count([])))
    return found


def race_once(run: RunDirectory, start: Barrier, taken: Any) -> None:
    start.wait(60)
    taken.put(take(run, devices=DEVICES[:1]))
    start.wait(60)  # nobody exits before all have asked, because a claim of an exited process could be stale


def test_exactly_one_of_several_managers_takes_over_a_stale_claim(
    make_run: MakeRun, gone: Callable[[str], RunDirectory]
) -> None:
    old = gone("gone")
    runs = [make_run(f"run-{number}") for number in range(RACERS)]
    for _ in range(15):
        claim_and_die(old)
        start, taken = FORK.Barrier(RACERS), FORK.Queue()
        racers = [FORK.Process(target=race_once, args=(run, start, taken)) for run in runs]
        for racer in racers:
            racer.start()
        claimed = sorted(taken.get(timeout=60) for _ in racers)
        for racer in racers:
            racer.join(60)
        assert claimed == [[], [], [], ["cpu-0"]]
        with locked():
            for run in runs:
                claims.release(run)
