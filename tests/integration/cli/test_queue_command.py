"""`rbp train --seeds` and `rbp queue`: several runs from one command, and the queue."""

import json
import os
import signal
from collections import defaultdict
from pathlib import Path

import pytest

from rbp_engine.lease import holder
from tests.waiting import wait_for

QUICK = ("digits", "T=1", "epochs=1", "batch=256")
LONG = ("digits", "T=1", "epochs=5000", "batch=256", "train.kernel=eager")


@pytest.fixture
def slots(rbp):
    """Set how many runs may share the CPU."""

    def write(number):
        settings = rbp.folder / ".config" / "rbp"
        settings.mkdir(parents=True, exist_ok=True)
        (settings / "machine.toml").write_text(f"cpu_slots = {number}\n")

    return write


def summaries(rbp):
    """The summaries of the runs by seed."""
    return {summary["seed"]: summary for summary in rbp.summaries()}


def test_each_seed_is_a_run_on_its_own_slot_and_all_events_go_to_stdout(rbp, slots):
    slots(2)
    done = rbp("train", *QUICK, "--seeds", "1,2,3", "--json")
    ids = {summary["id"]: seed for seed, summary in summaries(rbp).items()}
    assert sorted(ids.values()) == [1, 2, 3]
    assert {summary["status"] for summary in summaries(rbp).values()} == {"completed"}
    assert len({summary["experiment"] for summary in summaries(rbp).values()}) == 1
    assert done.stderr == ""

    events = defaultdict(list)
    for line in done.stdout.splitlines():
        event = json.loads(line)
        events[event.pop("run")].append(event)
    for run_id, written in events.items():
        assert written == rbp.events(run_id)
    spans = sorted((written[0]["t"], written[-1]["t"]) for written in (events[run_id] for run_id in ids))
    assert spans[2][0] > min(spans[0][1], spans[1][1])  # the third waited for one of the others
    wait_for(lambda: rbp.json("queue") == [])


def test_detach_prints_the_ids_and_waiting_runs_are_listed_and_can_be_removed(rbp, slots):
    slots(1)
    first, second, third = rbp("train", *LONG, "--seeds", "1,2,3", "--detach").stdout.split()
    rbp.wait_for_step(first)
    queue = next(rbp.folder.glob(".local/state/rbp/hosts/*/queue"))
    (queue / "00000000000000000001-gone-0a1b.json").write_text("{")
    known = rbp.json("queue")
    assert [(place["id"], place["position"], place["status"]) for place in known] == [
        (first, None, "running"), (second, 1, "queued"), (third, 2, "queued"), ("gone-0a1b", None, "damaged"),
    ]  # fmt: skip
    assert known[0]["devices"] == ["cpu 0"]
    assert known[1]["held"] == {"cpu 0": first}
    assert known[2]["behind"] == [second]
    recorded = [line.rstrip() for line in rbp("queue").stdout.splitlines()]
    assert recorded[1].endswith("on cpu 0")
    assert recorded[2].endswith(f"{first[-4:]} has cpu 0")
    assert recorded[3].endswith(f"behind {second[-4:]}")
    damaged = " ".join(" ".join(recorded[4:]).split())
    assert "Expecting property name" in damaged and "rbp stop gone-0a1b" in damaged
    assert [record["status"] for record in rbp.json("ls")] == ["running", "queued", "queued"]

    stopped = {"id": second, "status": "stopped", "reason": "never started: taken out of the queue"}
    assert rbp.json("stop", second) == stopped | {"cause": "request"}
    (entry,) = queue.glob(f"*-{third}.json")
    entry.write_text(json.dumps(json.loads(entry.read_text()) | {"retried": "lots"}))
    rbp("stop", "0a1b", third)  # both entries are damaged, and the first one's run is gone
    assert [place["id"] for place in rbp.json("queue")] == [first]
    assert summaries(rbp)[3]["status"] == "stopped"
    assert rbp("stop", second, code=2).stderr.strip().endswith(f"{second} is not running, it is stopped")

    rbp("resume", third, "--detach")
    assert rbp.json("ls", "status:queued")[0]["id"] == third
    rbp("stop", "--now", third)
    assert rbp.json("stop", first)["status"] == "stopped"
    wait_for(lambda: rbp.json("queue") == [])  # the dispatcher notes the end


def places(rbp):
    """The seeds of the waiting runs, in their order."""
    seeds = {summary["id"]: seed for seed, summary in summaries(rbp).items()}
    return [seeds[run["id"]] for run in rbp.json("queue")]


def test_waiting_runs_are_arranged_and_nothing_starts_during_a_pause(rbp_here):
    rbp = rbp_here
    assert "not paused" in rbp("queue", "go").stderr
    assert "is paused;" in rbp("queue", "pause").stderr
    assert "is paused already;" in rbp("queue", "pause").stderr
    first, second, third = rbp("train", *QUICK, "--seeds", "1,2,3", "--gpus", "none", "--detach").stdout.split()
    (fourth,) = rbp("train", *QUICK, "--seeds", "4", "--gpus", "none", "--detach").stdout.split()
    assert places(rbp) == [1, 2, 3, 4]
    rbp("queue", "move", third, "--first")
    rbp("queue", "move", second, "--last")
    assert places(rbp) == [3, 1, 4, 2]
    rbp("queue", "move", fourth, second, "--first")
    assert places(rbp) == [4, 2, 3, 1]
    rbp("queue", "move", fourth, second, "--last")
    assert places(rbp) == [3, 1, 4, 2]
    assert {run["reason"] for run in rbp.json("ls")} == {"waits in the queue: rbp queue"}  # no device
    shown = rbp("queue").stdout
    assert "paused: nothing starts before rbp queue go" in shown

    assert "say where" in rbp("queue", "move", first, code=2).stderr

    rbp("stop", first, third, fourth)
    assert "does not wait in the queue" in rbp("queue", "move", first, "--last", code=2).stderr
    assert places(rbp) == [2]
    rbp("resume", first, "--detach")
    assert places(rbp) == [2, 1]
    assert not list(rbp.runs.glob("*/attempts/*"))
    rbp("stop", "status:queued")
    rbp("resume", third, "--detach")
    done = rbp("resume", first, third, fourth, "--detach", code=1)  # one that waits does not keep the others from it
    assert done.stdout.split() == [first, fourth] and "is queued already" in done.stderr
    assert places(rbp) == [3, 1, 4]
    rbp("stop", "status:queued")
    rbp("queue", "go")


def test_a_run_of_the_queue_is_named_within_its_runs_directory_and_last_is_the_newest(rbp_here):
    """Points of a sweep have the same ids in every runs directory."""
    rbp = rbp_here
    rbp("queue", "pause")
    for folder, run_id in (("ra", "dup1"), ("rb", "dup1"), ("rb", "try-last"), ("rb", "newest")):
        rbp("train", *QUICK, "--id", run_id, "--gpus", "none", "--detach", "--runs-dir", folder)

    def waiting():
        return {"/".join(Path(run["path"]).parts[-2:]) for run in rbp.json("queue")}

    assert rbp.json("stop", "dup1", "--runs-dir", "rb")["id"] == "dup1"
    assert waiting() == {"ra/dup1", "rb/try-last", "rb/newest"}
    assert rbp.json("stop", "last", "--runs-dir", "rb")["id"] == "newest"
    assert "no run 'try-last'" in rbp("stop", "try-last", "--now", "--runs-dir", "ra", code=2).stderr
    assert waiting() == {"ra/dup1", "rb/try-last"}
    rbp("stop", "--now", "dup1", "--runs-dir", "ra")
    rbp("stop", "--now", "try-last", "--runs-dir", "rb")


def test_a_schedulers_signal_preempts_running_runs_and_removes_waiting_ones(rbp, slots):
    slots(1)
    process = rbp.start("train", *LONG, "--seeds", "1,2")
    wait_for(lambda: len(summaries(rbp)) == 2 and summaries(rbp)[1]["step"] > 0)
    process.send_signal(signal.SIGUSR1)
    out, talk = process.communicate(timeout=90)
    assert process.returncode == 5
    assert [summaries(rbp)[seed]["status"] for seed in (1, 2)] == ["preempted", "stopped"]
    assert f"{summaries(rbp)[1]['id'][-4:]} seed 1: started on cpu" in out
    assert "preempted" in talk and "never started" in talk


def test_what_waits_in_a_queue_that_nothing_serves_is_named_with_the_way_out(rbp, slots):
    """As after the host has got another name: a new container of the same home."""
    slots(1)
    rbp("queue", "pause")
    rbp("train", *QUICK, "--gpus", "none", "--detach")
    (run,) = rbp.runs.iterdir()
    (here,) = (rbp.folder / ".local" / "state" / "rbp" / "hosts").glob("[!.]*")
    wait_for(lambda: holder(here / "dispatcher.lock"))
    assert "box1" not in rbp("queue").stderr
    os.kill(holder(here / "dispatcher.lock").pid, signal.SIGKILL)
    here.rename(here.with_name("box1"))
    short = run.name[-4:]
    said = f"{short} waits in the queue of box1, which nothing serves: rbp resume {short} queues it here"
    wait_for(lambda: said in " ".join(rbp("queue").stderr.split()))
    rbp("queue", "pause")
    rbp("resume", short, "--detach")
    shown = rbp("queue")
    assert "box1" not in shown.stderr and short in shown.stdout
    rbp("stop", short)


def test_logs_of_a_queued_run_are_followed_once_it_starts(rbp):
    rbp("queue", "pause")
    run_id = rbp("train", *QUICK, "--gpus", "none", "--detach").stdout.strip()
    followed = rbp.start("logs", run_id, "--follow")
    try:
        assert "waiting for its log" in followed.stderr.readline()
        rbp("queue", "go")
        out, _ = followed.communicate(timeout=170)
    finally:
        followed.kill()
    assert followed.returncode == 0 and "started on cpu" in out
