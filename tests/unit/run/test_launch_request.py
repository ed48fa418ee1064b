"""Launch requests: their command line, and repeating a run."""

import shlex
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rbp_engine.data.catalog import DataMissing
from rbp_engine.preset import read_resolved
from rbp_engine.run import start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.files.run_json import Dispatch, Resources
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchOptions, LaunchRequest, parse_seeds
from rbp_engine.run.start import StartResult
from tests.run_files import change_summary

NODES = Resources(1, 2, "a:1")
NETS = "from torch import nn\n\n\ndef net():\n    return nn.Linear(64, 10)\n"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def create(request: LaunchRequest) -> RunDirectory:
    (run,) = start.create_runs(request, start.check(request))
    return run


def test_a_repeated_run_is_the_same_experiment_even_if_preset_and_code_changed(tmp_path):
    (tmp_path / "nets.py").write_text(NETS)
    (tmp_path / "mine.toml").write_text('extends = "digits"\n[run]\nseed = 3\n[train]\nepochs = 7\n')
    options = LaunchOptions(tmp_path / "runs", Resources(2), retries=1)
    run = create(LaunchRequest("./mine.toml", ("arch=nets.py:net", "lr=0.02"), options))
    for name in ("nets.py", "mine.toml"):
        (tmp_path / name).write_text("broken(")
    again = create(LaunchRequest.like(run))
    assert again.path.parent == run.path.parent
    assert again.preset_toml.read_text() == run.preset_toml.read_text()
    assert (again.code / "nets.py").read_text() == NETS
    summaries = [load_summary(one) for one in (run, again)]
    assert summaries[0].experiment == summaries[1].experiment
    assert [(one.preset, one.label, one.seed) for one in summaries] == [("mine", "mine · nets.py:net", 3)] * 2
    assert read_json(again.run_json)["resources"] == read_json(run.run_json)["resources"]
    assert read_json(again.run_json)["dispatch"] == asdict(Dispatch(retries=1))

    request = LaunchRequest.like(run).changed("lr", "0.5").changed("epochs", "2")
    assert shlex.join(request.command) == f"rbp train --like {run.id} lr=0.5 epochs=2 --retries 1 --nproc 2"
    changed = create(request)
    optim, train = read_resolved(changed.preset_toml).optim, read_resolved(changed.preset_toml).train
    assert (optim.lr, train.epochs) == (0.5, 2)


def test_a_job_with_a_given_seed_continues_only_a_run_of_that_seed(tmp_path):
    request = LaunchRequest("digits", (), LaunchOptions(tmp_path / "runs"), (5,), run_id="job", resume_or_start=True)
    run = start.create_runs(replace(request, seeds=()), start.check(request))[0]
    with pytest.raises(RunError, match="has seed 1, not 5"):
        start.start_runs(request)
    shutil.rmtree(run.path)
    run = launch.create(replace(request, overrides=("seed=5",), seeds=()).load(), tmp_path / "runs", run_id="job")
    change_summary(run, status="completed")
    assert start.start_runs(request) == StartResult([run])


def test_a_changed_value_replaces_the_one_given_under_either_name():
    options = LaunchOptions(Path("a b"), Resources(2), "none")
    request = LaunchRequest("digits", ("optim.lr=1", "T=2", "lr=3"), options, (4,), run_id="x")
    where = "--nproc 2 --runs-dir 'a b'"
    assert shlex.join(request.command) == f"rbp train digits lr=3 T=2 --seeds 4 --id x --gpus none {where}"
    assert shlex.join(request.without("lr").command) == f"rbp train digits T=2 seed=4 {where}"
    other = request.changed("train.accumulate", "2").changed("train.accumulate", "4").changed("seed", "7")
    assert other.overrides == (*request.overrides, "train.accumulate=4", "seed=7")
    assert shlex.join(request.changed("lr", "0.1").command) == f"rbp train digits T=2 seed=4 lr=0.1 {where}"


@pytest.mark.parametrize("text", ["", ",", "1,1", "1,01", "1,two", "-1", "1.5", "9" * 19])
def test_text_that_is_not_a_list_of_different_seeds_is_refused(text):
    with pytest.raises(RunError, match="expected different whole numbers, like 1,2,3"):
        parse_seeds(text)
    assert parse_seeds("1, 2 30") == (1, 2, 30)


def test_a_thousand_seeds_are_the_most():
    assert len(parse_seeds(",".join(map(str, range(1000))))) == 1000
    with pytest.raises(RunError, match="at most 1000 at a time, got 1001"):
        parse_seeds(",".join(map(str, range(1001))))


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ({"resources": Resources(processes=10**12)}, "1000000000000 processes are more than .*: at most 1024"),
        ({"resources": Resources(nodes=1025, rendezvous="a:1")}, "1025 nodes are more"),
        ({"retries": 1001}, "1001 retries are more"),
    ],
)
def test_more_processes_nodes_or_retries_than_anybody_has_are_refused(tmp_path, words, told):
    request = LaunchRequest("digits", (), LaunchOptions(tmp_path / "runs", **words))
    with pytest.raises(RunError, match=told):
        start.create_runs(request, request.load())
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("request_", "error", "message"),
    [
        (LaunchRequest("digits", ("seed=3",), seeds=(1,)), RunError, "leave one of them out"),
        (LaunchRequest("digits", seeds=(1, 2), run_id="mine"), RunError, "--id names one run"),
        (LaunchRequest("digits", run_id="../mine"), RunError, "cannot be the id of a run"),
        (LaunchRequest("cifar10-resnet18"), DataMissing, "cifar-10-batches-py"),
        (LaunchRequest("digits", (), LaunchOptions(None, Resources(999), "none")), RunError, "takes as many devices"),
        (LaunchRequest("digits", (), LaunchOptions(None, NODES, "none")), RunError, "start it on each of them"),
        (LaunchRequest("digits", (), LaunchOptions(None, NODES, retries=1), run_id="x"), RunError, "on one node"),
    ],
)
def test_an_impossible_launch_is_refused_before_anything_is_created(tmp_path, request_, error, message):
    with pytest.raises(error, match=message):
        start.start_runs(request_)
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("retries", "machine"), [(1, ""), (0, '[hooks]\non_end = "true"\n'), (0, '[hooks]\non_failure = "true"\n')]
)
def test_a_run_that_needs_a_dispatcher_is_not_made_where_none_can_be(tmp_path, monkeypatch, retries, machine):
    earlier = create(LaunchRequest("digits", ("epochs=1",), LaunchOptions(tmp_path / "runs")))
    before = earlier.run_json.read_bytes(), earlier.summary_json.read_bytes()
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text(machine)
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file" / "state"))
    with pytest.raises(RunError, match="XDG_STATE_HOME may name another folder"):
        create(LaunchRequest("digits", ("epochs=1",), LaunchOptions(tmp_path / "runs", retries=retries)))
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.name[0] != "."] == [earlier.id]
    with pytest.raises(RunError, match="XDG_STATE_HOME may name another folder"):
        start.resume(earlier, (), LaunchOptions(retries=retries))
    assert (earlier.run_json.read_bytes(), earlier.summary_json.read_bytes()) == before
