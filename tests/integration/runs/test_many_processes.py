"""Real runs of two processes under torchrun."""

import os
import signal
import socket

import pytest
import torch
from idle import IDLE

from rbp_engine.preset import load_preset
from rbp_engine.run.cause import Cause
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.event_reader import EventReader, read_events
from rbp_engine.run.files.events import ErrorRaised, Metrics, RunStart, System, WarningRaised
from rbp_engine.run.files.log_files import log_files
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.launch import launch
from rbp_engine.run.status import processes
from rbp_engine.run.status.status import Verdict

TWO = Resources(processes=2)
SYNCHRONISED = "train.sync_bn=true"
PROBED = ("firing_rates", "health", "probe", "gradient_fidelity")
SAMPLED = list(range(5, 37, 5))  # every log_every of 36 steps
pytestmark = pytest.mark.xdist_group("two processes")  # they share runs


@pytest.fixture(scope="session")
def two_process_reference(reference):
    """The reference run again, with two processes that share every batch."""
    folder = reference.path.parent.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RBP_CONFIG", str(folder / "config"))
        run = launch.create(load_preset(str(folder / "tiny.toml"), [SYNCHRONISED]), folder / "runs")
        launch.start(run, Asked(resources=TWO))
        return run


@pytest.fixture(scope="module", autouse=True)
def failed_on_one(tmp_path_factory):
    """A run whose second process fails. It starts first, because torchrun waits half a minute for the other process."""
    folder = tmp_path_factory.mktemp("failed")
    (folder / "sets.py").write_text(
        "import os\nfrom rbp_engine.data.sets.digits import DIGITS\n"
        "def mine():\n"
        "    if os.environ['RANK'] == '1':\n        raise ValueError('page 7 is missing')\n"
        "    return DIGITS.load()\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.setenv("RBP_CONFIG", str(folder / "config"))
        patch.chdir(folder)  # paths on the command line are relative to here
        run = launch.create(load_preset("digits", ["T=1", "data.name=sets.py:mine", "run.device=cpu"]), folder / "runs")
        launch.start(run, Asked(resources=TWO))
    yield run
    processes.kill_all(run)


def test_two_processes_with_synchronised_batch_norm_train_as_one_does(reference, two_process_reference, look):
    verdict = look.end(two_process_reference)
    assert verdict.status == "completed", (verdict, log_files(two_process_reference)["0"][1].read_text())
    ours, theirs = look.story(two_process_reference), look.story(reference)
    assert [(entry["kind"], entry["step"]) for entry in ours] == [(entry["kind"], entry["step"]) for entry in theirs]
    # Another order of summation rounds differently, and as training goes on, a single changed spike has growing
    # effects.
    first = [entry["loss"] for entry in ours if entry["step"] <= 12]
    torch.testing.assert_close(first, [entry["loss"] for entry in theirs if entry["step"] <= 12], rtol=1e-4, atol=0)
    assert abs(ours[-1]["top1"] - theirs[-1]["top1"]) < 0.06 and ours[-1]["samples"] == theirs[-1]["samples"] == 360
    assert look.newest(two_process_reference).world_size == 2


def test_another_number_of_processes_is_refused_unless_it_may_be_inexact(two_process_reference, look):
    look.end(two_process_reference)
    with pytest.raises(launch.RunError, match="use --nproc 2, or allow it with --inexact"):
        launch.start(two_process_reference, Asked(resources=Resources()))
    with pytest.raises(launch.NothingToStart, match="complete"):  # refused no more for that
        launch.start(two_process_reference, Asked(resources=Resources(), inexact=True))


def test_every_rank_records_its_own_memory_step_time_and_log(two_process_reference, look):
    look.end(two_process_reference)
    for rank in (0, 1):
        events = EventReader(two_process_reference.events(rank)).poll()
        assert {event.rank for event in events} == {rank}
        [start] = [event.body for event in events if isinstance(event.body, RunStart)]
        assert (start.world_size, start.exact, start.steps_per_epoch) == (2, True, 12)
        [system, *_] = [event.body for event in events if isinstance(event.body, System)]
        assert system.rss > 0 and system.step_ms >= system.data_ms >= 0
        out, err = log_files(two_process_reference)[str(rank)]
        assert "started on cpu" in out.read_text() and err.read_text() == ""
    assert not [event for event in EventReader(two_process_reference.events(1)).poll() if event.body.kind == "metrics"]


def test_two_processes_with_every_probe_train_to_the_same_bits(two_process_reference, new_run, look, tmp_path):
    mine = tmp_path / "mine.py"
    mine.write_text("import torch\n\n\ndef measure(run, model):\n    run.log('noise', torch.rand(()))\n")
    every = ("probes.health=true", "probes.gradients=10", "probes.energy=true", f"probes.own={mine}:measure")
    run = new_run(SYNCHRONISED, *every)
    launch.start(run, Asked(resources=TWO))
    assert look.end(run).status == look.end(two_process_reference).status == "completed"
    ours, theirs = look.newest(run).path, look.newest(two_process_reference).path
    for name in ("rng-rank0.pt", "rng-rank1.pt"):
        assert (ours / name).read_bytes() == (theirs / name).read_bytes(), name
    momenta, their_momenta = (torch.load(path / "optimizer.pt")["optimizer"]["state"] for path in (ours, theirs))
    assert momenta.keys() == their_momenta.keys() and len(momenta) > 0
    for number, state in momenta.items():
        assert torch.equal(state["momentum_buffer"], their_momenta[number]["momentum_buffer"])
    expected, found = look.weights(two_process_reference), look.weights(run)
    assert found.keys() == expected.keys() and all(torch.equal(found[name], expected[name]) for name in found)
    assert look.story(run) == look.story(two_process_reference)
    steps = {kind: [event.step for event in read_events(run.events()) if event.body.kind == kind] for kind in PROBED}
    assert steps == {"firing_rates": SAMPLED, "health": SAMPLED, "probe": SAMPLED, "gradient_fidelity": [10, 20, 30]}
    assert run.energy_json.is_file() and not look.bodies(run, WarningRaised)


def test_two_nodes_train_one_run_and_a_signal_to_one_preempts_both(new_run, look):
    """Both nodes are on this host. By itself, the other launcher would wait five minutes for the first."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    nodes = Resources(processes=1, nodes=2, rendezvous=f"localhost:{port}")
    run = new_run("epochs=500", *IDLE, "train.checkpoint_every=1 h")
    launchers = [launch.start(run, Asked(resources=nodes)), launch.start(run, Asked(resources=nodes))]
    with pytest.raises(RunError, match="already"):
        launch.start(run, Asked(resources=nodes))
    assert look.first(run, RunStart).body.world_size == 2
    os.kill(launchers[0].pid, signal.SIGTERM)
    verdict = look.end(run)
    assert verdict.status == "preempted" and look.newest(run).world_size == 2
    for launcher in launchers:
        launcher.wait(60)
    assert processes.processes_of(run) == []


def test_a_signal_to_one_rank_preempts_both_and_one_process_goes_on_inexactly(new_run, look):
    run = new_run("epochs=500", *IDLE, "train.checkpoint_every=1 h")
    launch.start(run, Asked(resources=TWO))
    look.first(run, RunStart)
    [rank_1] = [process for process in processes.processes_of(run) if process.environ().get("RANK") == "1"]
    rank_1.send_signal(signal.SIGUSR1)
    verdict = look.end(run)
    assert verdict.status == "preempted" and "another process of the run received a signal" in verdict.reason
    assert look.newest(run).world_size == 2
    saved = look.newest(run).path.name
    launch.start(run, Asked(resources=Resources(), inexact=True))
    start = look.first(run, RunStart, attempt=2).body
    assert (start.world_size, start.exact, start.resumed_from) == (1, False, saved)
    assert "trained by 2 processes so far, by 1 from here on" in look.first(run, WarningRaised, attempt=2).body.message
    assert look.first(run, Metrics, attempt=2).step > int(saved.removeprefix("step-"))


def test_the_reason_of_a_failed_run_is_the_first_processs_error(failed_on_one, look):
    """The other process only reports that the first has gone."""
    verdict = look.end(failed_on_one)
    assert verdict == Verdict("failed", "process 1: sets.py line 5: ValueError: page 7 is missing", Cause.OWN_CODE)
    [error] = [event.body for event in read_events(failed_on_one.events(1)) if isinstance(event.body, ErrorRaised)]
    assert "in mine" in error.traceback and not error.about_others
    assert "page 7 is missing" in log_files(failed_on_one)["1"][1].read_text()
