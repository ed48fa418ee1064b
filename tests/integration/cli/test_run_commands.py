"""ls, watch, logs, stop, kill, resume, show and rm on real runs."""

import json

import pytest
from idle import IDLE

from tests.run_files import write_manifest

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
    assert "is running: stop or kill it first" in refused.stderr
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


def link_control(run):
    """A link where rbp writes, as it makes none: it refuses to."""
    run.control.rename(run.path.parent.parent / "elsewhere")
    run.control.symlink_to(run.path.parent.parent / "elsewhere")


def block_pruning(run):
    """A file in the way of what a checkpoint is called while it is being removed."""
    (run.checkpoints / "step-00000001.pruned.tmp").touch()


@pytest.mark.parametrize(
    ("command", "refusing", "other", "spoil", "left"),
    [
        ("stop bad good", {"status": "queued"}, {"status": "queued"}, link_control, "good stopped"),
        ("stop --now bad good", {"status": "running", "program": "mine"}, {"status": "queued"}, None, "good stopped"),
        ("runs rm bad good", {"status": "queued"}, {}, None, ""),
        ("runs rm --now --yes bad good", {"status": "queued"}, {}, None, ""),
        ("runs archive bad good", {}, {}, link_control, ""),
        ("runs tag bad good +tried", {}, {}, link_control, "good completed tried"),
        ("runs pack bad good", {"status": "queued"}, {}, None, "good completed packed"),
        ("runs prune bad good --keep none --yes", {}, {}, block_pruning, "good completed"),
        ("show --layers bad good", {"program": "mine"}, {}, None, "good completed"),
    ],
)
def test_of_several_runs_one_that_refuses_says_why_and_keeps_no_other(
    rbp_here, write_run, command, refusing, other, spoil, left
):
    bad, good = write_run(rbp_here.runs, "bad", **refusing), write_run(rbp_here.runs, "good", **other)
    for run in (bad, good):
        run.preset_toml.touch()
        (run.checkpoints / "step-00000001").mkdir()
        write_manifest(run.checkpoints / "step-00000001")
    if spoil is not None:
        spoil(bad)
    said = rbp_here(*command.split(), code=1)
    assert "bad" in said.stderr
    assert bad.path.is_dir() and (bad.checkpoints / "step-00000001").is_dir()
    there = {one["id"]: one for one in rbp_here.json("ls")}
    found = there.get("good", {"id": "", "status": "", "tags": []})
    packed = "packed" * (rbp_here.folder / "good.zip").exists()
    assert " ".join([found["id"], found["status"], *found["tags"], packed]).strip() == left
    if "prune" in command:
        assert not list(good.checkpoints.iterdir()) and "in 1 run" in said.stderr


def test_of_several_runs_in_the_trash_those_that_are_there_come_back(rbp_here, write_run):
    write_run(rbp_here.runs, "good")
    rbp_here("runs", "rm", "good")
    assert "'nosuch'" in rbp_here("runs", "restore", "nosuch", "good", code=1).stderr
    assert [one["id"] for one in rbp_here.json("ls")] == ["good"]


def test_what_is_wrong_with_a_command_is_said_once_for_all_of_its_runs(rbp_here, write_run):
    for name in ("one", "two"):
        write_run(rbp_here.runs, name)
    assert rbp_here("runs", "tag", "one", "two", "+a b", code=1).stderr.count("cannot be a tag") == 1
