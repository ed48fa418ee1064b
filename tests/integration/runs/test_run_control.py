import os
import signal

from idle import IDLE

from rbp_engine.run.files.events import CheckpointSaved, Metrics
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import judge

# Long enough not to complete during a test.
LONG = ("epochs=500", "train.checkpoint_every=1 h", *IDLE)


def test_a_signal_without_a_request_preempts_the_run_with_a_checkpoint_also_before_it_can_be_handled(new_run, look):
    run = new_run(*LONG)
    worker = launch.start(run)
    os.kill(worker.pid, signal.SIGUSR1)
    assert "received SIGUSR1" in look.end(run).reason and judge(run).status == "preempted"
    assert worker.wait(60) == 4
    assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == set(), "held back from the worker only"

    worker = launch.start(run)
    look.first(run, Metrics, attempt=2)
    os.kill(worker.pid, signal.SIGHUP)  # a terminal that disappears is no reason to end
    step = read_summary(run).step
    look.wait_until(lambda: read_summary(run).step > step + 5)
    assert judge(run).status == "running"
    os.kill(worker.pid, signal.SIGTERM)
    verdict = look.end(run)
    saved = look.newest(run)
    assert verdict.status == "preempted" and verdict.resumable
    assert verdict.reason == f"received SIGTERM, saved at step {saved.progress.step}"
    assert [body.name for body in look.bodies(run, CheckpointSaved)][-1] == saved.path.name
    assert worker.wait(60) == 4
