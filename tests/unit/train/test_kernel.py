"""When the neurons' loops are compiled."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.preset import load_preset
from rbp_engine.spiking import LIF
from rbp_engine.spiking.layers import compiler
from rbp_engine.train.build import choose_kernel

CPU = torch.device("cpu")


def chosen(*overrides: str, steps: int = 10) -> tuple[str, list[str]]:
    return choose_kernel(load_preset("digits", ["batch=100", "epochs=10", *overrides]).preset, steps, CPU)


def test_a_short_run_on_a_cpu_is_not_compiled_nor_one_of_any_length_that_is_to_be_eager() -> None:
    assert chosen("T=4") == chosen("T=4", "train.kernel=eager", steps=10**6) == ("eager", [])


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
    if compiler.problem("cpu"):
        assert kernel == "eager" and len(warnings) == 1
    else:
        assert (kernel, warnings) == ("compiled", [])


@pytest.mark.compiles
def test_a_script_that_leaves_the_choice_to_rbp_gets_the_kernel_of_a_long_run() -> None:
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


def test_a_script_on_a_machine_without_a_compiler_is_told_once_and_goes_on_eagerly(tmp_path: Path) -> None:
    script = (
        "import torch; from rbp_engine.methods import create_method; from rbp_engine.spiking import LIF\n"
        "for _ in range(2):\n"
        "    neurons = LIF(kernel='auto')\n"
        "    create_method('rate_m', timesteps=2).predict(torch.nn.Sequential(neurons), torch.ones(2, 3))\n"
        "    print(neurons.kernel)\n"
    )
    nowhere = {"CXX": "/no/compiler", "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | nowhere, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["eager", "eager"]
    assert done.stderr.count("neurons run uncompiled, for torch.compile does not work here: ") == 1


def test_where_the_compiler_fails_its_first_error_is_told(tmp_path: Path) -> None:
    compiler_without_headers = tmp_path / "c++"
    compiler_without_headers.write_text(
        "#!/bin/sh\n"
        'case "$*" in\n'
        '*.cpp*) echo "x.cpp:1:10: fatal error: Python.h: No such file or directory" >&2; exit 1 ;;\n'
        '*) exec c++ "$@" ;;\n'
        "esac\n"
    )
    compiler_without_headers.chmod(0o700)
    script = "from rbp_engine.spiking.layers import compiler; print(compiler.problem('cpu'))"
    there = {"CXX": str(compiler_without_headers), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "kernels")}
    done = subprocess.run(
        [sys.executable, "-c", script], env=os.environ | there, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().endswith("x.cpp:1:10: fatal error: Python.h: No such file or directory")


def test_an_unknown_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel is 'eager', 'compiled' or 'auto', got 'fast'"):
        create_model("convnet", num_classes=10, in_channels=1, kernel="fast")
