"""Which runs are restarted, and the cause of ends that are only known from a text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run import control
from rbp_engine.run.cause import Cause
from rbp_engine.run.queue.observe import has_failed, is_infrastructure_fault
from rbp_engine.run.status.error_texts import cause_of_text
from rbp_engine.run.status.status import Verdict, judge

BROKEN_CONNECTIONS = [
    "DistBackendError: NCCL error in: ProcessGroupNCCL.cpp:94, unhandled system error, ncclSystemError: Socket",
    "DistNetworkError: The client socket has timed out after 60000ms while trying to connect to (10.0.0.1, 29500)",
    "DistStoreError: Timed out after 31 seconds waiting for clients. 1/2 clients joined.",
    "RendezvousConnectionError: The connection to the C10d store has failed.",
    "RuntimeError: [/pytorch/third_party/gloo/gloo/transport/tcp/pair.cc:547] Connection closed by peer [::1]:4242",
    "process 0: lost the other processes: RuntimeError: application timeout caused pair closure in gloo",
    "RuntimeError: [../gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 1800000ms for recv operation",
]
FAULTS_OF_ITS_OWN = [
    "ValueError: expected 3 channels, got 1",
    "ConnectionResetError: [Errno 104] Connection reset by peer",  # from a user's data set
    "OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB",
    "no space left on the device of the runs directory; make room, then resume",
    "DistBackendError: NCCL error, invalid usage, ncclInvalidUsage: Duplicate GPU detected : rank 0 and rank 1",
    "DistBackendError: NCCL error, unhandled cuda error\nncclUnhandledCudaError: Call to CUDA function failed.\n"
    "Last error:\nCuda failure 2 'out of memory'",
]


@pytest.mark.parametrize(
    ("message", "cause"),
    [
        *((text, Cause.LOST_PROCESS) for text in BROKEN_CONNECTIONS),
        *((text, Cause.ERROR) for text in FAULTS_OF_ITS_OWN),
    ],
)
def test_text_about_a_broken_connection_alone_means_a_lost_process(message, cause):
    assert cause_of_text(message) is cause


@pytest.mark.parametrize(
    ("status", "cause", "again", "failed"),
    [
        ("lost", Cause.LOST_PROCESS, True, True),
        ("killed", Cause.LOST_PROCESS, True, True),
        ("failed", Cause.LOST_PROCESS, True, True),
        ("lost", Cause.UNRESPONSIVE, False, True),
        ("failed", Cause.OWN_CODE, False, True),
        ("failed", Cause.UNKNOWN, False, True),
        ("completed", Cause.UNKNOWN, False, False),
        ("stopped", Cause.REQUEST, False, False),
        ("preempted", Cause.REQUEST, False, False),
    ],
)
def test_only_infrastructure_faults_are_restarted(make_run, status, cause, again, failed):
    run, verdict = make_run(), Verdict(status, "so it is", cause)
    assert is_infrastructure_fault(run, verdict) == again
    assert has_failed(run, verdict) == failed


@given(st.text())
def test_causes_that_may_pass_are_not_frozen_in_the_run_and_one_that_is_not_known_is_unknown(text):
    assert [cause for cause in Cause if cause.is_transient] == [Cause.LOST_PROCESS]
    assert not any(cause.is_transient and cause.wants_new_run for cause in Cause)
    assert Cause(text) in (text, Cause.UNKNOWN)


def test_a_run_that_died_after_a_request_is_not_restarted_and_one_that_was_killed_has_not_failed(make_run, ended_pid):
    run = make_run(attempt={"pid": ended_pid})
    assert is_infrastructure_fault(run, judge(run))
    control.request_stop(run)
    assert judge(run).status == "lost" and not is_infrastructure_fault(run, judge(run))
    run.kill_request.touch()
    verdict = judge(run)
    assert (verdict.status, verdict.cause) == ("killed", Cause.REQUEST)
    assert not is_infrastructure_fault(run, verdict) and not has_failed(run, verdict)
