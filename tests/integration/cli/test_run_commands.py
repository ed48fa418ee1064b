"""ls, watch, logs, stop, kill, resume, show and rm on real runs."""

import json

import pytest
from idle import IDLE

LONG = ("train", "digits", "T=1", "epochs=5000", "batch=256", *IDLE, "--detach")


def start(rbp, *more):
    return rbp(*LONG, *more).stdout.strip()


def test_an_empty_runs_directory_is_reported_with_a_command_to_start(rbp_here):
    done = rbp_here("ls")
    assert done.stdout == ""
    assert "rbp train digits" in done.stderr
    assert rbp_here.json("ls") == []


def test_other_commands_stop_resume_watch_and_remove_a_run_and_leave_another_alone(rbp):
    run_id = start(rbp)
    rbp.wait_for_step(run_id)
    assert [entry["status"] for entry in rbp.json("ls")] == ["running"]
    assert "digits" in rbp("ls").stdout
    refused = rbp("runs", "rm", run_id, "--yes", code=2)
    assert "stop them first" in refused.stderr
    assert "running already" in rbp("resume", run_id, code=2).stderr
    assert rbp.json("stop", run_id[-4:])["status"] == "stopped"
    refused = rbp("stop", run_id, code=2).stderr
    assert "is not running, it is stopped" in refused and "asked" not in refused
    watched = rbp("watch", "last", "--json", code=4)
    assert json.loads(watched.stdout.splitlines()[-1])["status"] == "stopped"
    rbp("resume", "last", "--detach")
    rbp.wait_for_step(run_id)
    beside = start(rbp)
    rbp.wait_for_step(beside)
    assert rbp.json("stop", "--now", run_id)["status"] == "killed"
    statuses = {entry["id"]: entry["status"] for entry in rbp.json("ls")}
    assert statuses == {run_id: "killed", beside: "running"}
    rbp("stop", "--now", beside)
    rbp("runs", "rm", beside, "--now", "--yes")
    shown = rbp.json("show", run_id)
    assert [attempt["attempt"] for attempt in shown["attempts"]] == [1, 2]
    assert shown["summary"]["status"] == "killed"
    assert "killed" in rbp("show", run_id).stdout
    assert "resumed from step-" in rbp("logs", run_id).stdout


@pytest.mark.parametrize("command", ["watch last", "stop ../x", "stop --now x", "resume x", "logs x", "show x"])
def test_a_missing_run_gives_one_message_and_exit_code_2(rbp_here, command):
    message = rbp_here(*command.split(), code=2).stderr
    assert len(message.splitlines()) <= 2
