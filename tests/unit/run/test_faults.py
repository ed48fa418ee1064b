from collections.abc import Callable
from typing import Any

import pytest

from rbp_engine.run import control
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.retryable import blames_the_network, has_diverged, has_failed, is_infrastructure_fault
from rbp_engine.run.status.status import Verdict, judge

MakeRun = Callable[..., RunDirectory]


@pytest.mark.parametrize(
    "message",
    [
        "DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:94, unhandled system error, ncclSystemError: Socket",
        "DistNetworkError: The client socket has timed out after 60000ms while trying to connect to (10.0.0.1, 29500)",
        "DistStoreError: Timed out after 31 seconds waiting for clients. 1/2 clients joined.",
        "RendezvousConnectionError: The connection to the C10d store has failed.",
        "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:4242",
        "process 0: lost the other processes: RuntimeError: application timeout caused pair closure in gloo",
        "RuntimeError: [../gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation",
    ],
)
def test_a_connection_between_processes_that_breaks_is_a_fault_of_the_network(message: str) -> None:
    assert blames_the_network(message)


@pytest.mark.parametrize(
    "message",
    [
        "the loss is not finite at step 12",
        "ValueError: expected 3 channels, got 1",
        "ConnectionResetError: [Errno 104] Connection reset by peer",  # of a data set of one's own
        "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
        "no space left on the device of the runs directory; make room, then resume",
        "DistBackendError: NCCL error, invalid usage, ncclInvalidUsage: Duplicate GPU detected : rank 0 and rank 1",
        "DistBackendError: NCCL error, unhandled cuda error\nncclUnhandledCudaError: Call to CUDA function failed.\n"
        "Last error:\nCuda failure 2 'out of memory'",
    ],
)
def test_what_model_data_and_settings_do_wrong_is_no_fault_of_the_network(message: str) -> None:
    assert not blames_the_network(message)


@pytest.mark.parametrize(
    ("status", "reason", "again", "failed"),
    [
        ("lost", "the process is gone", True, True),
        ("killed", "ended by signal 9", True, True),
        ("failed", "ValueError: no", False, True),
        ("failed", "RuntimeError: [gloo/transport/tcp/pair.cc:1] Connection closed by peer", True, True),
        ("completed", "", False, False),
        ("stopped", "asked to stop", False, False),
        ("preempted", "received SIGTERM", False, False),
    ],
)
def test_only_what_the_machine_did_is_started_again(
    make_run: MakeRun, status: str, reason: str, again: bool, failed: bool
) -> None:
    run, verdict = make_run(), Verdict(status, reason)
    assert is_infrastructure_fault(run, verdict) == again
    assert has_failed(run, verdict) == failed


def test_only_what_is_not_finite_has_diverged() -> None:
    assert has_diverged(Verdict("failed", "the loss or its gradient is not finite at step 3; start again"))
    assert not has_diverged(Verdict("failed", "ValueError: no"))
    assert not has_diverged(Verdict("stopped", "asked to stop"))


def test_a_run_that_somebody_killed_has_not_failed_and_is_not_started_again(make_run: MakeRun, sleeper: Any) -> None:
    run = make_run()
    sleeper(run)
    control.kill(run)
    verdict = judge(run)
    assert verdict.status == "killed"
    assert not is_infrastructure_fault(run, verdict) and not has_failed(run, verdict)


def test_a_run_that_died_on_being_asked_to_stop_is_not_started_again(make_run: MakeRun, ended_pid: int) -> None:
    run = make_run(attempt={"pid": ended_pid})
    assert is_infrastructure_fault(run, judge(run))
    control.request_stop(run)
    assert judge(run).status == "lost" and not is_infrastructure_fault(run, judge(run))
