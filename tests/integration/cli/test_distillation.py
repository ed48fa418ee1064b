"""`loss.distill` in real runs: a student of a trained run, which needs it no longer once it has started."""

import shutil


def test_a_student_learns_from_a_copy_of_its_teacher(finished, rbp):
    there, _ = finished
    shutil.copytree(there.runs / "mine", rbp.runs / "teacher")
    words = ("digits", "T=1", "epochs=2", "batch=256", "loss.distill=teacher", "loss.distill_weight=0.9")
    rbp("train", *words, "--id", "student")
    mine = there.runs / "mine" / "checkpoints" / "best" / "model.safetensors"
    assert (rbp.runs / "student" / "teacher.safetensors").read_bytes() == mine.read_bytes()
    found = rbp.events("student"), there.events("mine")
    [ours], [theirs] = ([one for one in events if one["kind"] == "metrics"] for events in found)
    assert ours["loss"] != theirs["loss"] and ours["lr"] == theirs["lr"]

    shutil.rmtree(rbp.runs / "teacher")
    summary = rbp.json("show", "student")["summary"]
    (result,) = rbp.json("eval", "student")
    assert result["top1"] == summary["last"]["top1"]
    done = rbp("train", *words, code=2)
    assert "no run" in done.stderr and "teacher" in done.stderr
