"""When the neurons' loops are compiled."""

from pathlib import Path

import pytest
import torch

from rbp_engine.preset import load_preset
from rbp_engine.spiking.kernels import compiled
from rbp_engine.train.kernel import choose_kernel

CPU = torch.device("cpu")


def chosen(*overrides: str, steps: int = 10) -> tuple[str, list[str]]:
    return choose_kernel(load_preset("digits", ["batch=100", "epochs=10", *overrides]).preset, steps, CPU)


def test_a_short_run_on_a_cpu_is_not_compiled() -> None:
    assert chosen("T=4") == ("eager", [])


def test_eager_stays_eager_for_runs_of_any_length() -> None:
    assert chosen("T=4", "train.kernel=eager", steps=10**6) == ("eager", [])


def test_neurons_of_ones_own_run_uncompiled_with_a_warning_where_others_are_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class N: ...\n")
    warning = "neurons run uncompiled, for mine.py:N is a neuron of your own"
    assert chosen("neuron.name=mine.py:N", "train.kernel=compiled") == ("eager", [warning])
    assert chosen("neuron.name=mine.py:N") == ("eager", [])


@pytest.mark.parametrize(
    ("override", "steps"), [("train.kernel=compiled", 1), ("train.kernel=auto", 10**6)], ids=["asked", "long"]
)
def test_long_runs_and_those_that_ask_for_it_are_compiled_if_possible(override: str, steps: int) -> None:
    kernel, warnings = chosen(override, steps=steps)
    if compiled.problem("cpu"):
        assert kernel == "eager" and len(warnings) == 1
    else:
        assert (kernel, warnings) == ("compiled", [])
