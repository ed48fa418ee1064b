"""`rbp bench` as a user runs it: interleaved processes, a table, a document, a figure."""

import contextlib
import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from tests.waiting import wait_for


def test_methods_are_measured_against_a_baseline_and_drawn(rbp):
    words = ["digits", "batch=8", "run.device=cpu", "method=rate_m", "T=2", "train.kernel=eager", "--repeats", "1"]
    done = rbp("bench", *words, "--against", "spikingjelly,memopt", "-o", "rows.json", "-o", "cost.svg")
    assert "T = 2" in done.stdout and "rate_M eager" in done.stdout
    assert "memopt eager" in done.stdout and "NHWC," in done.stdout and "level 1" in done.stdout
    assert "5 variants, 1 round, in 10 processes one after the other: about " in done.stderr
    assert "median of 1 round, which are up to 0 % of it apart" in done.stderr
    assert (rbp.folder / "cost.svg").read_text().startswith("<?xml")
    document = json.loads((rbp.folder / "rows.json").read_text())
    assert (document["preset"], document["network"], document["batch"]) == ("digits", "convnet", 8)
    *baselines, ours = document["rows"]
    assert [(row["method"], row["layout"]) for row in baselines] == [
        (name, layout) for name in ("spikingjelly", "memopt") for layout in ("NCHW", "NHWC")
    ]
    bptt, memopt = baselines[:2], baselines[2]
    for ratio, figure in (("time", "seconds"), ("memory", "peak")):  # each to the better of the two
        assert min(row[ratio] for row in bptt) == 1.0
        assert ours[ratio] == ours[figure] / min(row[figure] for row in bptt)
    assert memopt["setting"] == "level 1" and memopt["saved"] < bptt[0]["saved"]
    assert (ours["method"], ours["timesteps"], ours["device"], ours["problem"]) == ("rate_m", 2, "cpu", "")
    assert ours["samples_per_s"] == 8 / ours["seconds"] and ours["lowest"] == ours["seconds"] == ours["highest"]
    assert ours["saved"] < bptt[0]["saved"] and 3 < ours["units"] <= 4
    assert ours["over_floor"] == ours["seconds"] / ours["floor_seconds"]
    assert document["processor"] and document["cores"] > 0 and 0 <= document["busy"] <= 1


@pytest.fixture
def broken(write):
    """A benchmark of a network that cannot be made, which takes little time."""
    write("nets.py", "def net(**_):\n    raise OSError('no weights')\n")
    return ("bench", "digits", "arch=nets.py:net", "run.device=cpu", "T=1", "--repeats", "1", "--against", "")


def test_the_latency_of_one_image_is_measured_eager_and_compiled(rbp_here, broken):
    rows = json.loads(rbp_here(*broken, "--latency", "--json", code=1).stdout)["rows"]
    assert [row["kernel"] for row in rows] == ["eager", "compiled"]
    assert {(row["method"], row["batch"]) for row in rows} == {("rate_m", 1)}


def test_a_failed_measurement_and_a_file_that_cannot_be_written_are_reported_and_the_rest_is_there(rbp, broken):
    (rbp.folder / "full.json").symlink_to("/dev/full")
    done = rbp(*broken, "method=rate_m", "-o", "full.json", "-o", "rows.json", code=1)
    problem = "nets.py line 2: OSError: no weights"
    (row,) = json.loads((rbp.folder / "rows.json").read_text())["rows"]
    assert problem in done.stderr and row["problem"] == problem
    assert "T = 1" in done.stdout and "full.json: No space left on device" in done.stderr


def test_wrong_arguments_are_refused_before_anything_is_measured(rbp_here):
    assert "method.name" in rbp_here("bench", "digits", "method=rate_x", code=2).stderr
    assert "name a number of timesteps (T=4)" in rbp_here("bench", "digits", "T=", code=2).stderr
    nothing = rbp_here("bench", "digits", "method=", "--against", "", code=2)
    assert "name a method (method=rate_m)" in nothing.stderr
    assert "whole numbers" in rbp_here("bench", "T=two", code=2).stderr
    assert "spikingjelly" in rbp_here("bench", "--against", "torch", code=2).stderr
    assert "one choice of what is left out" in rbp_here("bench", "--full", "--latency", code=2).stderr
    assert "must end in" in rbp_here("bench", "-o", "cost.gif", code=2).stderr


def test_a_busy_machine_gives_a_warning_about_the_times(rbp, broken):
    spinning = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in os.sched_getaffinity(0)]
    try:
        error = rbp(*broken, "method=rate_m", code=1).stderr
        tried = rbp("try", "nets.py:net", code=1).stderr
    finally:
        for process in spinning:
            process.kill()
            process.wait()
    assert "of the cores busy: the times will be off, baselines run as with --busy" in error
    assert "of the cores busy: the times will be off\n" in tried


def measuring(bench):
    """The processes of a benchmark that take training steps."""
    found = []
    for child in psutil.Process(bench.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [child] if "rbp_engine.bench.measure.step" in child.cmdline() else []
    return found


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_no_process_behind(rbp, number, code):
    rbp.environment["RBP_COLD"] = "1"  # forks would be the children of another process
    bench = rbp.start("bench", "digits", "run.device=cpu", "method=rate_m,rate_s", "T=4")
    children = wait_for(lambda: measuring(bench))
    bench.send_signal(number)
    _, error = bench.communicate(timeout=60)
    assert ("interrupted: these are the figures so far" in error) == (code == 130)
    assert bench.returncode == code
    assert psutil.wait_procs(children, timeout=5)[1] == []
