import os
import shutil
import subprocess
import threading
from pathlib import Path

import psutil
import pytest
from idle import IDLE

from rbp_engine import os_process
from rbp_engine.run import control
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.events import Metrics
from rbp_engine.run.launch import launch
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import judge


def test_a_run_outlives_the_thread_that_started_it_and_is_found_by_its_markers(new_run, look):
    run = new_run("epochs=500", *IDLE)
    thread = threading.Thread(target=launch.start, args=(run,))
    thread.start()
    thread.join()
    pid = last_attempt(run).process.pid
    look.first(run, Metrics)
    look.wait_until(lambda: judge(run).status == "running")
    worker = psutil.Process(pid)
    environment = worker.environ()
    assert environment["RBP_RUN_ID"] == run.id and environment["RBP_RUN_DIR"] == str(run.path)
    assert [process.pid for process in processes.processes_of(run)] == [pid]
    assert os.getsid(pid) == pid != os.getsid(0)  # its own session, so that a hang-up here does not reach it
    assert last_attempt(run).process == os_process.of(worker.pid)
    assert Path(f"/proc/{pid}/fd/0").samefile(os.devnull)
    assert control.kill(run).status == "killed"


def test_a_worker_that_cannot_be_recorded_is_not_left_running(new_run, look, monkeypatch):
    run = new_run()

    class Failing(subprocess.Popen[bytes]):
        """The disk fails just after the worker has been started."""

        def __init__(self, *words, **options):
            super().__init__(*words, **options)
            run.attempt(1).unlink()
            (run.attempt(1) / "in the way").mkdir(parents=True)

    with monkeypatch.context() as patched:
        patched.setattr(subprocess, "Popen", Failing)
        with pytest.raises(RunError, match="cannot be read"):
            launch.start(run)
    look.wait_until(lambda: not processes.processes_of(run))
    shutil.rmtree(run.attempt(1))
    assert launch.start(run).pid == last_attempt(run).process.pid


def test_a_run_is_not_started_while_its_run_json_is_damaged(new_run):
    run = new_run()
    damaged = run.run_json.read_text().replace('"format": 1', '"format": 1,')
    run.run_json.write_text(damaged)
    before = run.summary_json.read_bytes()
    with pytest.raises(RunError, match=r"run\.json is damaged .*correct it"):
        launch.start(run)
    assert run.run_json.read_text() == damaged and run.summary_json.read_bytes() == before
    assert not run.attempt(1).exists() and not processes.processes_of(run)


def test_what_a_worker_prints_is_kept_by_attempt(new_run, look):
    """The preset is damaged, so the worker ends before it loads torch."""
    run = new_run()
    run.preset_toml.write_text("[data\n")
    for _ in range(2):
        worker = launch.start(run)
        worker.wait(120)
        assert look.end(run).status == "failed"
    log = run.stderr().read_text()
    assert log.count("Traceback (most recent call last)") == 2
    assert log[last_attempt(run).stderr_from :].count("Traceback") == 1
