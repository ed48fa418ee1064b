"""`rbp train --same`: a run is trained again, and the two are compared bit by bit."""

import json
import shutil

import pytest

from rbp_engine.report.sameness import compare_results
from rbp_engine.run import start
from rbp_engine.run.files.layout import RunDirectory
from tests.run_files import change_identity

pytestmark = pytest.mark.xdist_group("repeated runs")  # they share runs
HEADER = 8


@pytest.fixture(scope="module")
def again(tmp_path_factory, rbp_in, finished):
    """A folder with a run, the run that repeats it, and what `rerun` printed."""
    rbp = rbp_in(tmp_path_factory.mktemp("again"))
    shutil.copytree(finished[0].runs / "mine", rbp.runs / "mine")
    done = rbp("train", "--like", "mine", "--same")
    (other,) = [path for path in rbp.runs.iterdir() if path.name != "mine"]
    return rbp, RunDirectory(rbp.runs / "mine"), RunDirectory(other), done


@pytest.fixture
def changed(again, tmp_path):
    """The repeated run, as a copy that a test may change."""
    shutil.copytree(again[2].path, tmp_path / "changed")
    return RunDirectory(tmp_path / "changed")


def test_on_the_same_cpu_it_is_the_same_to_the_last_bit(again):
    _, original, other, done = again
    said = " ".join(done.stderr.split())
    assert f"the same to the last bit: mine and {other.id}" in said
    assert "metrics and evaluations: the same" in said
    assert "weights, last: the same" in said and "weights, best: the same" in said
    found = compare_results(original, other)
    assert found.same and found.measured >= 3 and [one.name for one in found.weights] == ["last", "best"]


def change_a_loss(run):
    """The events of the run as they are now, and the one that has changed."""
    lines = [json.loads(line) for line in run.events().read_text().splitlines()]
    line = next(line for line in lines if line["kind"] == "metrics")
    line["loss"] += 2**-30
    run.events().write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return lines, line


def change_a_bit(run):
    """The tensor of the best weights that has changed."""
    file = run.best / "model.safetensors"
    content = bytearray(file.read_bytes())
    length = int.from_bytes(content[:HEADER], "little")
    tensors = json.loads(content[HEADER : HEADER + length])
    name = list(tensors)[-1]
    content[HEADER + length + tensors[name]["data_offsets"][0]] ^= 1
    file.unlink()  # it is one with that of another checkpoint
    file.write_bytes(content)
    return name


def test_a_run_that_becomes_another_is_exit_code_1_with_the_first_step_and_tensor(
    again, changed, rbp_here, monkeypatch
):
    (_, line), tensor = change_a_loss(changed), change_a_bit(changed)
    monkeypatch.setattr(start, "start_runs", lambda request: start.StartResult([changed]))
    done = type(rbp_here)(again[0].folder)("train", "--like", "mine", "--same", code=1)
    said = " ".join(done.stderr.split())
    assert f"not the same: mine and {changed.id} they part at step {line['step']}: loss of metrics: " in said
    assert f"weights, last: the same weights, best: differ, first in {tensor}" in said


def test_the_first_metric_that_differs_is_named_with_its_step(again, changed):
    events, (lines, line) = changed.events(), change_a_loss(changed)
    found = compare_results(again[1], changed)
    assert not found.same
    assert (found.parting.step, found.parting.kind, found.parting.field) == (line["step"], "metrics", "loss")
    assert found.parting.again == line["loss"]
    events.write_text("".join(f"{json.dumps(line)}\n" for line in lines if line["kind"] != "validation"))
    assert compare_results(changed, again[1]).parting.step <= line["step"]


def test_one_bit_of_a_weight_is_found_and_the_tensor_named(again, changed):
    name = change_a_bit(changed)
    last, best = compare_results(again[1], changed).weights
    assert last.same and not best.same and best.first == name


def test_without_weights_the_metrics_decide(again, changed):
    shutil.rmtree(changed.checkpoints)
    found = compare_results(again[1], changed)
    assert found.same and not any(one.there for one in found.weights)


def test_what_was_different_is_named(again, changed):
    attempt = json.loads(changed.attempt(1).read_text())
    attempt["environment"]["OMP_NUM_THREADS"] = "8"
    changed.attempt(1).write_text(json.dumps(attempt))
    change_identity(changed, packages={"torch": "1.0"})
    found = {one.name: (one.original, one.again) for one in compare_results(again[1], changed).conditions}
    assert found["OMP_NUM_THREADS"] == ("1", "8")
    assert found["torch"][1] == "1.0"


def test_a_run_without_a_result_and_one_that_was_trained_longer_are_refused(rbp_here, write_run):
    write_run(rbp_here.runs, "stopped", status="stopped")
    write_run(rbp_here.runs, "longer", origin="short", origin_epochs=10)
    write_run(rbp_here.runs, "foreign", program="train.py")
    for words in (("train", "--same", "--like"), ("resume",), ("eval",), ("export", "nir"), ("show", "--layers")):
        assert "was trained by another program, train.py" in rbp_here(*words, "foreign", code=2).stderr
    for words, message in (
        (("stopped",), "only a completed run has a result to repeat"),
        (("longer",), "goes on from short, 10 to 20 epochs: no run from the start repeats that"),
        (("longer", "--seeds", "1"), "leaves --seeds without effect"),
    ):
        assert message in rbp_here("train", "--same", "--like", *words, code=2).stderr
