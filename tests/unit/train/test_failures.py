import errno

import pytest
import torch

from rbp_engine.preset.schema import Preset
from rbp_engine.train.ranks.distributed import is_about_others
from rbp_engine.train.ranks.failures import describe


def preset(**sections: dict[str, object]) -> Preset:
    return Preset.model_validate(sections)


def torch_out_of_memory() -> BaseException:
    """What the CPU allocator really says."""
    try:
        torch.empty(2**58)
    except RuntimeError as error:
        return error
    raise AssertionError


NCCL_OUT_OF_MEMORY = torch.distributed.DistBackendError(
    "NCCL error in: ProcessGroupNCCL.cpp:94, unhandled cuda error (run with NCCL_DEBUG=INFO for details), NCCL version "
    "2.27.5\nncclUnhandledCudaError: Call to CUDA function failed.\nLast error:\nCuda failure 2 'out of memory'"
)
NCCL_OTHER_GONE = torch.distributed.DistBackendError(
    "NCCL error in: ProcessGroupNCCL.cpp:94, remote process exited or there was a network error\nncclRemoteError: "
    "A call failed possibly due to a network error or a remote process exiting prematurely."
)


@pytest.mark.parametrize(
    "error",
    [torch_out_of_memory(), torch.OutOfMemoryError("CUDA out of memory"), MemoryError(), NCCL_OUT_OF_MEMORY],
    ids=["CPU", "CUDA", "Python", "NCCL"],
)
def test_no_memory_is_told_with_what_takes_it_and_the_fields_to_change(error: BaseException) -> None:
    told = describe(error, preset(method={"name": "rate_m", "timesteps": 6}, data={"batch_size": 256}), world_size=2)
    assert told.startswith("out of memory with rate_m, T = 6, 256 images a step over 2 processes, precision fp32.")
    for field in ("train.accumulate = 2", "data.batch_size", "method.timesteps", "method.name = rate_s"):
        assert field in told


def test_only_what_helps_is_proposed() -> None:
    told = describe(MemoryError(), preset(method={"name": "rate_s"}, train={"accumulate": 4}))
    assert "in 4 parts" in told and "train.accumulate = 8" in told
    assert "timesteps" not in told and "method.name" not in told and "processes" not in told
    assert "timesteps" not in describe(MemoryError(), preset(method={"name": "bptt", "timesteps": 1}))


def test_other_errors_are_told_as_they_are() -> None:
    assert describe(ValueError("no such file"), preset()) == "ValueError: no such file"
    assert describe(KeyboardInterrupt(), None) == "KeyboardInterrupt"
    assert describe(MemoryError(), None) == "MemoryError"  # the preset could not even be read
    for path in ("/runs/a/summary.json", b"/runs/a/summary.json"):
        told = describe(OSError(errno.EROFS, "Read-only file system", path), preset())
        assert told == "Read-only file system: /runs/a/summary.json; make it writable again, then resume"
    assert "make room, then resume" in describe(OSError(errno.ENOSPC, "No space left on device"), preset())


def test_a_process_that_reads_images_and_was_killed_is_told_with_a_way_on() -> None:
    error = RuntimeError("DataLoader worker (pid 12) is killed by signal: Killed. ")
    assert "out of memory" in describe(error, preset()) and "data.workers" in describe(error, preset())


@pytest.mark.parametrize(
    ("error", "about_others"),
    [
        (NCCL_OUT_OF_MEMORY, False),
        (torch.distributed.DistBackendError("invalid usage\nncclInvalidUsage: Duplicate GPU detected"), False),
        (NCCL_OTHER_GONE, True),
        (torch.distributed.DistNetworkError("The client socket has timed out after 60000ms"), True),
        (RuntimeError("[gloo/transport/tcp/pair.cc:547] Connection closed by peer"), True),
        (torch.OutOfMemoryError("CUDA out of memory"), False),
        (ValueError("expected 3 channels"), False),
    ],
)
def test_an_error_is_the_others_only_where_the_process_itself_has_done_and_lacked_nothing(
    error: BaseException, about_others: bool
) -> None:
    assert is_about_others(error) == about_others
