"""What training makes a GPU do, checked on a fake one: no mixed devices, no waits, and the number of launches."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from shutil import which

import pytest

from rbp_engine.methods import METHODS
from rbp_engine.models import MODELS

HERE = Path(__file__).parent
pytestmark = pytest.mark.xdist_group("fake card")

# Launches of a training step with its optimizer: ResNet-18, T = 4, eager. These are the numbers with torch 2.13 and a
# few more; one more in each neuron layer would be 17.
BUDGET = {"bptt": 1924, "bptt_s": 1640, "rate_m": 1647, "rate_s": 2208, "sltt": 1568, "ottt": 1674}
PREDICTION = 560


def library(folder):
    """The fake device, compiled once for the installed version of torch."""
    import torch

    if torch.version.cuda is not None:
        pytest.skip("a torch with CUDA has a device of its own")
    compiler = which("g++")
    if compiler is None:
        pytest.skip("there is no g++ to compile the fake device with")
    source = HERE / "fake_device.cpp"
    target = folder / f"fake_device-{torch.__version__}-{source.stat().st_mtime_ns}.so"
    if not target.exists():
        spec = find_spec("torch")
        assert spec is not None and spec.submodule_search_locations
        home = Path(spec.submodule_search_locations[0])
        made = target.with_suffix(f".{os.getpid()}.tmp")
        subprocess.run(
            [
                compiler, "-std=c++20", "-O0", "-shared", "-fPIC", f"-I{home / 'include'}", str(source),
                "-o", str(made), f"-L{home / 'lib'}", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{home / 'lib'}",
            ],
            check=True,
        )  # fmt: skip
        made.replace(target)
    return target


@pytest.fixture(scope="module")
def results(pytestconfig, tmp_path_factory):
    """The results of all cases of `sweep.py`, run in one process."""
    cache = getattr(pytestconfig, "cache", None)  # the cache may be switched off
    folder = cache.mkdir("fake_device") if cache else tmp_path_factory.mktemp("fake_device")
    extent = "whole" if os.environ.get("RBP_EVERY_CASE") else "usual"
    done = subprocess.run(
        [sys.executable, str(HERE / "sweep.py"), extent],
        env=os.environ | {"LD_PRELOAD": str(library(folder)), "OMP_NUM_THREADS": "1"},
        cwd=HERE,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)["results"]


@pytest.fixture(scope="module")
def sound(results):
    """The results of the cases without a planted fault."""
    return [result for result in results if not result["planted"]]


def test_every_network_and_every_method_takes_a_step_and_predicts(sound):
    assert [result["problem"] for result in sound if result["problem"]] == []
    families = {
        network
        for network in MODELS
        if network.endswith(("_digits", "_3_96"))
        or not ("former" in network or network.startswith(("ms_resnet", "max", "sdt")))
    }
    assert {result["network"] for result in sound} == families
    assert {result["method"] for result in sound} == set(METHODS)


def test_nothing_in_a_step_a_probe_or_a_prediction_waits_for_the_card(sound):
    assert [result for result in sound if result["waits"]] == []


@pytest.mark.parametrize("method", METHODS)
def test_a_step_of_resnet18_launches_no_more_than_its_budget(sound, method):
    of_interest = {"network": "resnet18", "method": method, "timesteps": 4, "precision": "fp32", "events": False}
    [found] = [result for result in sound if of_interest.items() <= result.items()]
    assert found["launches"]["train"] <= BUDGET[method]
    assert found["launches"].get("predict", 0) <= PREDICTION


@pytest.mark.parametrize("fault", ["item", "mask", "copy", "backward"])
def test_a_planted_wait_for_the_card_is_found(results, fault):
    [found] = [result for result in results if result["planted"] == fault]
    assert found["waits"]


def test_a_tensor_left_on_the_cpu_is_found(results):
    [found] = [result for result in results if result["planted"] == "cpu tensor"]
    assert "cpu" in found["problem"] and "cuda" in found["problem"]
