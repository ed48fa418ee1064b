"""When the neurons' loops are compiled, and on which devices convolutions are tuned."""

import warnings
from pathlib import Path

import pytest
import torch
from torch._inductor.exc import CppCompileError

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.preset import load_preset
from rbp_engine.spiking import LIF
from rbp_engine.spiking.layers import compiler
from rbp_engine.train.build import choose_kernel
from rbp_engine.train.device import tune_convolutions

CPU, CARD = torch.device("cpu"), torch.device("cuda", 0)  # torch takes the setting without a card, too


def chosen(*overrides: str, steps: int = 10) -> tuple[str, list[str]]:
    return choose_kernel(load_preset("digits", ["batch=100", "epochs=10", *overrides]).preset, steps, CPU)


def test_a_short_run_on_a_cpu_is_not_compiled_nor_one_of_any_length_that_is_to_be_eager():
    assert chosen("T=4") == chosen("T=4", "train.kernel=eager", steps=10**6) == ("eager", [])


def test_neurons_of_ones_own_run_uncompiled_with_a_warning_where_others_are_compiled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text("class N: ...\n")
    warning = "neurons run uncompiled, for mine.py:N is a neuron of your own"
    assert chosen("neuron.name=mine.py:N", "train.kernel=compiled") == ("eager", [warning])
    assert chosen("neuron.name=mine.py:N") == ("eager", [])


@pytest.mark.parametrize(
    ("override", "steps"), [("train.kernel=compiled", 1), ("train.kernel=auto", 10**6)], ids=["asked", "long"]
)
def test_long_runs_and_those_that_ask_for_it_are_compiled_if_possible(override, steps):
    kernel, warnings = chosen(override, steps=steps)
    if compiler.problem("cpu"):
        assert kernel == "eager" and len(warnings) == 1
    else:
        assert (kernel, warnings) == ("compiled", [])


@pytest.mark.compiles
def test_a_script_that_leaves_the_choice_to_rbp_gets_the_kernel_of_a_long_run():
    images = torch.rand(4, 1, 8, 8)
    logits = {}
    for kernel in ("eager", "auto"):
        torch.manual_seed(0)
        model = create_model("convnet", num_classes=10, in_channels=1, kernel=kernel)
        logits[kernel] = create_method("rate_m", timesteps=3).predict(model, images)
        layers = [module.kernel for module in model.modules() if isinstance(module, LIF)]
        expected = chosen("train.kernel=auto", steps=10**6)[0] if kernel == "auto" else "eager"
        assert layers == [expected] * 3
    assert logits["auto"].equal(logits["eager"])


def test_a_script_on_a_machine_without_a_compiler_is_told_once_and_goes_on_eagerly(monkeypatch):
    monkeypatch.setattr(compiler, "problem", lambda device: "no compiler")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(2):
            neurons = LIF(kernel="auto")
            create_method("rate_m", timesteps=2).predict(torch.nn.Sequential(neurons), torch.ones(2, 3))
            assert neurons.kernel == "eager"
    assert [str(one.message) for one in told] == [
        "neurons run uncompiled, for torch.compile does not work here: no compiler"
    ]


def test_where_the_compiler_fails_its_first_error_is_told(monkeypatch):
    missing = "x.cpp:1:10: fatal error: Python.h: No such file or directory"

    def fails(function):
        raise CppCompileError(["c++", "x.cpp"], f"In file included from x.cpp:\n{missing}\n    1 | #include <Python.h>")

    monkeypatch.setattr(compiler, "jit", fails)
    assert compiler.problem.__wrapped__("cpu").endswith(f": {missing}")


def test_an_unknown_kernel_is_refused():
    with pytest.raises(ValueError, match="kernel is 'eager', 'compiled' or 'auto', got 'fast'"):
        create_model("convnet", num_classes=10, in_channels=1, kernel="fast")


@pytest.fixture
def cudnn_as_before():
    before = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic
    yield
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = before
    torch.use_deterministic_algorithms(False)


@pytest.mark.usefixtures("cudnn_as_before")
def test_convolutions_are_tuned_on_a_card_not_on_a_cpu_and_not_for_code_that_asks_for_deterministic_algorithms():
    for device, tuned in ((CPU, False), (CARD, True), (CPU, False)):
        tune_convolutions(device)
        assert torch.backends.cudnn.benchmark is tuned
    torch.backends.cudnn.deterministic = True
    tune_convolutions(CARD)
    assert not torch.backends.cudnn.benchmark
    torch.backends.cudnn.deterministic = False
    torch.use_deterministic_algorithms(True)
    tune_convolutions(CARD)
    assert not torch.backends.cudnn.benchmark
