"""The cause and the message for an exception of a worker."""

import errno
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.child import explain as explain_measurement
from rbp_engine.compile_cache import CompileCacheError
from rbp_engine.data.catalog import DataMissing, Presence
from rbp_engine.data.loading.shares import Cut
from rbp_engine.data.loading.source import TrainingBatches
from rbp_engine.errors import DataError, LoaderLost
from rbp_engine.models import create_model
from rbp_engine.preset.schema import Preset
from rbp_engine.run.cause import Cause
from rbp_engine.settings.problems import PresetError
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.train.device import DeviceError
from rbp_engine.train.errors import CheckpointError, NonFiniteLoss
from rbp_engine.train.ranks.failures import Ending, explain, is_about_others

CODE = Path("/runs/a/code")


def preset(**sections: dict[str, object]) -> Preset:
    return Preset.model_validate(sections)


NCCL_OUT_OF_MEMORY = torch.distributed.DistBackendError(
    "NCCL error in: ProcessGroupNCCL.cpp:94, unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version "
    "2.27.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'"
)
NCCL_OTHER_GONE = torch.distributed.DistBackendError(
    "NCCL error in: ProcessGroupNCCL.cpp:94, remote process exited or there was a network error\nncclRemoteError: "
    "A call failed possibly due to a network error or a remote process exiting prematurely."
)


def raised(act: Callable[[], object]) -> BaseException:
    try:
        act()
    except Exception as error:
        return error
    raise AssertionError


@pytest.mark.parametrize(
    "error",
    [raised(lambda: torch.empty(2**58)), torch.OutOfMemoryError("CUDA out of memory"), MemoryError()],
    ids=["the CPU's allocator", "CUDA", "Python"],
)
def test_out_of_memory_is_explained_with_the_settings_that_need_it_and_remedies(error):
    wide = preset(method={"name": "rate_m", "timesteps": 6}, data={"batch_size": 256})
    failure = explain(error, wide, code=CODE, world_size=2)
    assert failure.cause is Cause.OUT_OF_MEMORY
    text = failure.reason
    assert text.startswith("out of memory with rate_m, T = 6, 256 images a step over 2 processes, precision fp32.")
    for field in ("train.accumulate = 2", "data.batch_size", "method.timesteps", "method.name = rate_s"):
        assert field in text


def test_only_remedies_that_help_are_proposed():
    text = explain(MemoryError(), preset(method={"name": "rate_s"}, train={"accumulate": 4}), code=CODE).reason
    assert "in 4 parts" in text and "train.accumulate = 8" in text
    assert "timesteps" not in text and "method.name" not in text and "processes" not in text
    one_step = explain(MemoryError(), preset(method={"name": "bptt", "timesteps": 1}), code=CODE)
    assert "timesteps" not in one_step.reason


@pytest.mark.parametrize(
    ("batch", "parts", "processes", "helps"),
    [(8, 2, 4, "a smaller data.batch_size"), (8, 1, 4, "train.accumulate = 2"), (1, 1, 1, "a smaller network")],
)
def test_no_more_parts_are_proposed_than_a_process_has_images(batch, parts, processes, helps):
    asked = preset(method={"name": "rate_s"}, data={"batch_size": batch}, train={"accumulate": parts})
    failure = explain(MemoryError(), asked, code=CODE, world_size=processes)
    assert f"What helps: {helps}" in failure.reason


def test_other_errors_keep_their_message():
    assert explain(ValueError("no such file"), preset(), code=CODE) == Ending(
        "failed", Cause.ERROR, "ValueError: no such file"
    )
    assert explain(KeyboardInterrupt(), None, code=CODE) == Ending("failed", Cause.ERROR, "KeyboardInterrupt")
    no_preset = explain(MemoryError(), None, code=CODE)  # the preset could not even be read
    assert no_preset == Ending("failed", Cause.OUT_OF_MEMORY, "MemoryError")


@pytest.mark.parametrize("path", ["/runs/a/summary.json", b"/runs/a/summary.json"])
def test_an_unwritable_disk_has_to_be_repaired_before_a_resume(path):
    failure = explain(OSError(errno.EROFS, "Read-only file system", path), preset(), code=CODE)
    text = "Read-only file system: /runs/a/summary.json; make it writable again, then resume"
    assert failure == Ending("failed", Cause.DISK, text)
    full = explain(OSError(errno.ENOSPC, "No space left on device"), preset(), code=CODE)
    assert full.cause is Cause.DISK and "make room, then resume" in full.reason
    uncompiled = explain(CompileCacheError("cannot write: make room"), preset(), code=CODE)
    assert uncompiled == Ending("failed", Cause.DISK, "cannot write: make room")


@pytest.mark.parametrize(
    "error", [RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. "), LoaderLost("it was gone")]
)
def test_a_killed_loader_process_is_explained_with_a_remedy(error):
    failure = explain(error, preset(), code=CODE)
    assert failure.cause is Cause.LOST_PROCESS
    assert "out of memory" in failure.reason and "data.workers" in failure.reason


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (NonFiniteLoss("the loss is not finite at step 3"), Cause.NON_FINITE),
        (DataMissing(Presence("cifar10", False, None, [], "fetch it")), Cause.DATA),
        (DataError("x.png cannot be read as an image"), Cause.DATA),
        (CheckpointError("step-00000001 does not fit this run"), Cause.CHECKPOINT),
        (DeviceError("cuda:1: this process sees 1 GPUs"), Cause.SETTINGS),
        (PresetError("preset.toml", []), Cause.SETTINGS),
        (raised(lambda: TrainingBatches(iter, tuple, range, 10, Cut(batch_size=20, drop_last=True))), Cause.SETTINGS),
        (NCCL_OTHER_GONE, Cause.LOST_PROCESS),
        (torch.distributed.DistNetworkError("The client socket has timed out after 60000ms"), Cause.LOST_PROCESS),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"), Cause.LOST_PROCESS),
        (torch.distributed.DistBackendError("invalid usage\nncclInvalidUsage: Duplicate GPU detected"), Cause.ERROR),
        (NCCL_OUT_OF_MEMORY, Cause.OUT_OF_MEMORY),
        (RuntimeError("CUDA error: out of memory"), Cause.OUT_OF_MEMORY),
        (ZeroDivisionError("division by zero"), Cause.ERROR),
    ],
)
def test_the_type_of_an_error_decides_its_cause_and_whether_it_is_about_other_processes(error, cause):
    assert explain(error, preset(), code=CODE, world_size=2).cause is cause
    assert is_about_others(error) == (cause is Cause.LOST_PROCESS)


def test_the_cause_depends_on_whether_there_are_other_processes():
    assert explain(RuntimeError("no gloo here"), preset(), code=CODE).cause is Cause.ERROR


@given(st.sampled_from([ValueError, RuntimeError, KeyError, OSError, MemoryError, KeyboardInterrupt]), st.text())
def test_every_exception_has_a_cause_and_a_message(kind, text):
    failure = explain(kind(text), preset(), code=CODE)
    assert failure.cause is not Cause.UNKNOWN and failure.reason


NETS = """\
from torch import nn
import torch

class Raises(nn.Module):
    def __init__(self, *, act, **settings):
        super().__init__()
        if act == "shape":
            torch.ones(2, 3) @ torch.ones(2, 3)
        if act == "file":
            open("/nowhere/at/all")
        if act == "memory":
            torch.empty(2**58)
        if act == "cuda":
            raise RuntimeError("CUDA error: unspecified launch failure")

def no_network(**settings):
    return 3
"""


@pytest.mark.parametrize(
    ("name", "args", "cause"),
    [
        ("Raises", {"act": "shape"}, Cause.OWN_CODE),
        ("Raises", {}, Cause.OWN_CODE),  # called without a required keyword, so its own lines are never reached
        ("Raises", {"act": ""}, Cause.ERROR),  # nothing is wrong with the code itself
        ("no_network", {}, Cause.OWN_CODE),
        ("absent", {}, Cause.OWN_CODE),
        ("Raises", {"act": "file"}, Cause.DATA),
        ("Raises", {"act": "memory"}, Cause.OUT_OF_MEMORY),
        ("Raises", {"act": "cuda"}, Cause.ERROR),
    ],
)
def test_errors_in_own_code_have_that_cause_unless_a_file_or_memory_is_missing(tmp_path, name, args, cause):
    (tmp_path / "nets.py").write_text(NETS)

    def make_and_call() -> None:
        create_model(f"nets.py:{name}", num_classes=2, in_channels=1, own_code=tmp_path, args=args)
        raise ValueError("after it")

    failure = explain(raised(make_and_call), preset(), code=tmp_path)
    assert failure.cause is cause
    if args == {"act": "shape"}:
        assert failure.reason.startswith("nets.py line 8: RuntimeError: ")


def test_an_error_in_another_process_is_in_own_code_if_its_traceback_names_the_file():
    text = (
        "Caught RuntimeError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "{}/sets.py", line 15, in __getitem__\nRuntimeError: page 7 is missing'
    )
    own = explain(RuntimeError(text.format(CODE)), preset(), code=CODE)
    assert own == Ending("failed", Cause.OWN_CODE, "RuntimeError: page 7 is missing (in a process that reads images)")
    assert explain(RuntimeError(text.format("/torch")), preset(), code=CODE).cause is Cause.ERROR


def test_that_a_library_s_network_does_not_take_the_images_is_an_error_of_settings_with_advice():
    network = create_model("torchvision:vgg11", num_classes=2, in_channels=3)
    error = raised(lambda: network(torch.zeros(1, 3, 8, 8)))
    failure = explain(error, preset(model={"name": "torchvision:vgg11"}), code=CODE)
    assert failure.cause is Cause.SETTINGS
    assert failure.reason.startswith("torchvision:vgg11 cannot be trained on digits: RuntimeError: ")
    assert failure.reason.endswith(". Take other images, another network, or model.args that fit")
    assert "Take other images (--input), another network" in explain_measurement(error, CODE)


@pytest.mark.parametrize(("name", "cause"), [("nets.py:plain", Cause.OWN_CODE), ("convnet", Cause.ERROR)])
def test_what_has_no_rule_is_an_error_of_own_code_if_the_network_is(name, cause):
    without = UnsupportedOperation("rrelu")
    assert explain(without, preset(model={"name": name}), code=CODE).cause is cause


def test_a_librarys_network_in_own_code_fails_by_own_code():
    network = create_model("torchvision:vgg11", num_classes=2, in_channels=3)
    failure = explain(raised(lambda: network(torch.zeros(1, 1, 64, 64))), preset(model={"name": "a.py:vgg"}), code=CODE)
    assert failure.cause is Cause.OWN_CODE and "model.args" not in failure.reason
