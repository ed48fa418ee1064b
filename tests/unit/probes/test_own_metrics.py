"""Metrics of the user's own: what their function logs, and what becomes of its mistakes."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

from rbp_engine.errors import OwnCodeError
from rbp_engine.models import create_model
from rbp_engine.probes.own_metrics import OwnMetrics, RunLog
from rbp_engine.run.files.events import Probe, WarningRaised

DOCS = Path(__file__).parents[3] / "docs" / "inside-the-network.md"


def measured(folder, source, steps=3, model=None):
    """What a file's `measure` gives for steps 1 … `steps`, two an epoch."""
    (folder / "mine.py").write_text(source)
    probe = OwnMetrics("mine.py:measure", folder, model or nn.Linear(2, 2), steps_per_epoch=2, every=1)
    for step in range(1, steps + 1):
        probe.measure(step)
    return probe.take()


def test_each_value_is_an_event_of_its_step(tmp_path):
    source = "def measure(run, model):\n    run.log('epoch', run.epoch)\n    run.log('step', run.step * 2.5)\n"
    assert measured(tmp_path, source) == [
        (1, Probe("epoch", 1.0)), (1, Probe("step", 2.5)),
        (2, Probe("epoch", 1.0)), (2, Probe("step", 5.0)),
        (3, Probe("epoch", 2.0)), (3, Probe("step", 7.5)),
    ]  # fmt: skip


def test_a_tensor_has_the_value_that_it_had_when_it_was_logged():
    log, weight = RunLog(1, 1), nn.Parameter(torch.ones(3))
    log.log("first", weight[0])
    log.log("again", 1)
    log.log("again", weight.sum().to(torch.bfloat16))
    with torch.no_grad():
        weight.zero_()
    assert log.values() == {"first": 1.0, "again": 3.0}


@pytest.mark.parametrize(
    ("name", "value"),
    [("x", [1.0]), ("x", "1"), ("x", None), ("x", torch.ones(2)), ("x", torch.ones((), dtype=torch.complex64)),
     ("", 1.0), (3, 1.0)],
)  # fmt: skip
def test_what_is_no_number_with_a_name_is_refused(name, value):
    with pytest.raises(TypeError, match=r"run\.log"):
        RunLog(1, 1).log(name, value)


def test_an_exception_is_one_warning_with_its_line_and_ends_the_calls(tmp_path, capsys):
    source = "def measure(run, model):\n    run.log('x', run.step)\n    if run.step == 2:\n        1 / 0\n"
    *values, (step, warning) = measured(tmp_path, source, steps=5)
    assert values == [(1, Probe("x", 1.0)), (2, Probe("x", 2.0))]
    assert step == 2 and isinstance(warning, WarningRaised)
    assert warning.message.startswith("your metrics mine.py:measure (mine.py line 4): ZeroDivisionError: division by")
    assert "1 / 0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def measure(run): ...\n", r"mine\.py:measure\(run\) cannot be called as measure\(run, model\): too many"),
        ("def other(run, model): ...\n", "mine.py has no class or function called measure"),
    ],
)
def test_a_function_that_cannot_be_called_is_refused_at_once(tmp_path, source, message):
    with pytest.raises(OwnCodeError, match=message):
        measured(tmp_path, source)


def test_the_function_runs_without_gradients(tmp_path):
    source = "def measure(run, model):\n    run.log('x', float((model.weight * 2).requires_grad))\n"
    assert measured(tmp_path, source, steps=1) == [(1, Probe("x", 0.0))]


def test_the_example_of_the_docs_works_as_written(tmp_path):
    found = re.search(r"`mine\.py`:\n\n```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    assert found is not None
    model = create_model("convnet", num_classes=10, in_channels=1)
    events = measured(tmp_path, found[1], steps=2, model=model)
    assert all(isinstance(body, Probe) for _, body in events)
    assert [body.name for step, body in events if step == 2 and isinstance(body, Probe)] == [
        "moved 0.weight", "moved 4.weight", "moved 8.weight", "moved 13.weight", "rank of classifier",
    ]  # fmt: skip
