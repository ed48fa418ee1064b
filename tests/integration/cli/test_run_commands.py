"""ls, watch, logs, stop, kill, resume, runs show and rm on real runs."""

import json
import time

import pytest

LONG = ("train", "digits", "T=1", "epochs=5000", "batch=256", "--detach")


def start(rbp, *more):
    return rbp(*LONG, *more).stdout.strip()


def wait_for_step(rbp, run_id):
    for _ in range(600):
        if json.loads((rbp.runs / run_id / "summary.json").read_text())["step"] > 0:
            return
        time.sleep(0.05)
    raise AssertionError("no step was made")


def test_an_empty_runs_directory_is_said_with_what_to_type(rbp):
    done = rbp("ls")
    assert done.stdout == ""
    assert "rbp train digits" in done.stderr
    assert rbp.json("ls") == []


def test_a_run_is_stopped_resumed_watched_and_removed_by_other_processes_than_the_one_that_started_it(rbp):
    run_id = start(rbp)
    wait_for_step(rbp, run_id)
    assert [entry["status"] for entry in rbp.json("ls")] == ["running"]
    assert "digits" in rbp("ls").stdout
    refused = rbp("runs", "rm", run_id, "--yes", code=2)
    assert "stop or kill first" in refused.stderr
    assert "running already" in rbp("resume", run_id, code=2).stderr
    assert rbp.json("stop", run_id[-4:])["status"] == "stopped"
    refused = rbp("stop", run_id, code=2).stderr
    assert "is not running, it is stopped" in refused and "asked" not in refused
    watched = rbp("watch", "last", "--json", code=4)
    assert json.loads(watched.stdout.splitlines()[-1])["status"] == "stopped"
    rbp("resume", "last", "--detach")
    wait_for_step(rbp, run_id)
    assert rbp.json("kill", run_id)["status"] == "killed"
    shown = rbp.json("runs", "show", run_id)
    assert [attempt["attempt"] for attempt in shown["run"]["attempts"]] == [1, 2]
    assert shown["summary"]["status"] == "killed"
    assert "killed" in rbp("runs", "show", run_id).stdout
    assert "resumed from step-" in rbp("logs", run_id).stdout
    rbp("runs", "rm", run_id)
    assert list(rbp.runs.iterdir()) == []
    rbp("runs", "restore", "last")
    rbp("resume", run_id, "--detach")
    wait_for_step(rbp, run_id)
    rbp("kill", run_id)
    rbp("runs", "rm", run_id, "--now", "--yes")
    assert list(rbp.runs.iterdir()) == [] and rbp.json("runs", "trash") == []


def test_kill_leaves_other_runs_alone(rbp):
    first, second = start(rbp), start(rbp)
    wait_for_step(rbp, second)
    rbp("kill", first)
    statuses = {entry["id"]: entry["status"] for entry in rbp.json("ls")}
    assert statuses == {first: "killed", second: "running"}


def test_an_ambiguous_reference_lists_the_candidates(rbp):
    ids = [
        rbp("train", "digits", "T=1", "epochs=1", "--id", name, "--detach").stdout.strip() for name in ("aa-1", "aa-2")
    ]
    message = rbp("runs", "show", "aa", code=2).stderr
    assert all(run_id in message for run_id in ids)


@pytest.mark.parametrize("command", [("watch",), ("stop",), ("kill",), ("resume",), ("logs",), ("runs", "show")])
@pytest.mark.parametrize("reference", ["nothing", "../x", "last"])
def test_a_run_that_is_not_there_is_one_message_and_exit_code_2(rbp, command, reference):
    message = rbp(*command, reference, code=2).stderr
    assert len(message.splitlines()) <= 2


def test_removing_for_good_without_a_terminal_needs_yes(rbp):
    rbp("train", "digits", "T=1", "epochs=1", "--id", "mine")
    assert "--yes" in rbp("runs", "rm", "mine", "--now", code=2).stderr
    assert (rbp.runs / "mine").is_dir()


def test_the_exit_code_of_watch_is_the_runs(rbp):
    rbp("train", "digits", "T=1", "epochs=1", "--id", "good")
    rbp("train", "digits", "T=1", "lr=1e30", "--id", "bad", code=1)
    rbp("watch", "good", code=0)
    rbp("watch", "bad", code=1)
