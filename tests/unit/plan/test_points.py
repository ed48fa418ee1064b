"""The plan of a sweep: which runs it consists of, and what tells them apart."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.plan.points import SweepPlan, plan_sweep
from rbp_engine.plan.request import SweepRequest, parse_words
from rbp_engine.preset import PresetError, load_preset
from rbp_engine.preset.sweep.section import Varied, split_values
from rbp_engine.report.paper import paper_cells
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.run_json import SweepRecord, read_run_json
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.store import record

UNIT_INTERVAL = ("neuron.decay", "neuron.threshold", "optim.momentum", "optim.weight_decay")


def planned(*words: str, preset: str = "digits", seeds: tuple[int, ...] = (), trials: int | None = None) -> SweepPlan:
    return plan_sweep(SweepRequest(LaunchRequest(preset, words, seeds=seeds), draws=trials))


def test_a_grid_has_every_combination_with_every_seed_and_those_of_a_seed_follow_each_other():
    plan = planned("method=bptt,rate_m", "T=2,4", "epochs=3", seeds=(1, 2))
    assert plan.keys == ("method.name", "method.timesteps")
    assert [(point.trial, " ".join(point.overrides), point.seed) for point in plan.points] == [
        (trial, f"method={method} T={timesteps}", seed)
        for seed in (1, 2)
        for trial, (method, timesteps) in enumerate([("bptt", 2), ("bptt", 4), ("rate_m", 2), ("rate_m", 4)], start=1)
    ]
    assert {point.loaded.preset.train.epochs for point in plan.points} == {3}
    assert len({point.identity for point in plan.points}) == 8
    assert {len(points) for points in plan.trials.values()} == {2}


def test_the_command_line_takes_the_place_of_the_section(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text('extends = "digits"\n[sweep]\nseeds = [1, 2]\n[sweep.grid]\nT = [2, 4]\nlr = [0.1, 0.2]\n')
    mine = str(path)
    assert len(planned(preset=mine).points) == 8
    assert [point.overrides for point in planned("lr=0.3", preset=mine, seeds=(5,)).points] == [("T=2",), ("T=4",)]
    assert [point.seed for point in planned("lr=0.3", "T=6", "seed=7", preset=mine).points] == [7]
    assert len(planned("method=bptt,rate_m", "T=3,5,7", preset=mine).points) == 2 * 2 * 3 * 2
    path.write_text('extends = "digits"\n[[sweep.list]]\nT = 2\nlr = 0.1\n[[sweep.list]]\nT = 4\nlr = 0.1\n')
    assert [point.overrides for point in planned(preset=mine).points] == [("T=2", "lr=0.1"), ("T=4", "lr=0.1")]
    assert [point.overrides for point in planned("T=3", preset=mine).points] == [("lr=0.1",)]


def test_the_draws_of_a_trial_stay_as_they_are_when_others_are_added():
    few = planned("lr=0.01..0.5:log", trials=3)
    more = planned("method=bptt,rate_m", "neuron.decay=0..1", "lr=0.01..0.5:log", trials=6)
    rates = [point.loaded.preset.optim.lr for point in few.points]
    assert len(set(rates)) == 3
    drawn = [point.loaded.preset.optim.lr for point in more.points]
    assert drawn[0:6:2] == drawn[1:6:2] == rates  # each draw with both methods
    assert few.points[1].identity == planned("lr=0.01..0.5:log", trials=2).points[1].identity


@given(st.integers(-50, 50), st.integers(1, 100), st.floats(0, 1, exclude_max=True), st.booleans())
def test_a_drawn_number_is_within_its_range(low, width, share, whole):
    one = Varied("lr", low=low, high=low + width, whole=whole)
    assert low <= float(one.word_of(one.at(share)).partition("=")[2]) <= low + width
    if low > 0:
        one = replace(one, log=True)
        assert low <= float(one.word_of(one.at(share)).partition("=")[2]) <= low + width


def test_what_is_wrong_is_named_for_all_combinations_at_once():
    with pytest.raises(PresetError) as error:
        planned("method=bptt,rate,rate_x", "T=0,2", "lr=x", "neuron.decay=0..2")
    places = ["method=rate", "method=rate_x", "T=0", "lr=x", "neuron.decay=2.0"]
    assert [problem.place for problem in error.value.problems] == places
    with pytest.raises(PresetError, match="v_reset") as error:
        planned("neuron.v_reset=0,0.5", "neuron.threshold=0.5,1")
    assert len(error.value.problems) == 1  # of two combinations
    with pytest.raises(PresetError, match="unknown key") as error:
        planned("metod=bptt,rate_m", "lr=0.5..0.1", "T=2,,4", "seed=1,2")
    assert len(error.value.problems) == 4


@pytest.mark.parametrize(
    ("words", "trials", "message"),
    [
        (["lr=0.1,0.10"], None, "lr=0.1 and lr=0.10 are one and the same experiment: leave"),
        (["run.name=a,b", "T=2,4"], None, "same experiment, as run.name changes nothing that is learned"),
        (["lr=0.1..0.5"], None, "say how many times"),
        (["T=2,4"], 5, "no setting has a range"),
        (["neuron.decay=0..1"], 2000, "at most 1000 runs"),
        (
            [f"{key}={','.join(f'0.{n:03}' for n in range(1, 101))}" for key in ("lr", *UNIT_INTERVAL)],
            None,
            "would have 10000000000$",
        ),
    ],
)
def test_contradictions_are_refused(words, trials, message):
    with pytest.raises(RunError, match=message):
        planned(*words, trials=trials)


@given(
    st.lists(
        st.text("abz019.-/:=", min_size=1)
        | st.lists(st.text("ab,19", min_size=1), min_size=1).map(
            lambda items: "[" + ", ".join(f'"{item}"' for item in items) + "]"
        ),
        min_size=2,
    )
)
def test_values_are_read_as_they_are_written_with_a_comma_in_brackets_as_a_part_of_one(listed):
    assert split_values(",".join(listed)) == tuple(listed)


@pytest.mark.parametrize("name", ['my "sweep"', "it's", "a\nb"])
def test_a_name_that_no_query_could_ask_for_is_refused(name):
    with pytest.raises(RunError, match="no query could ask for it"):
        plan_sweep(SweepRequest(LaunchRequest("digits"), name=name))


def test_a_sweep_without_a_name_is_called_after_its_preset_and_what_it_varies():
    assert planned("train.epochs=1", "T=2,4", "optim.lr=0.1,0.2").name == "digits-lr-T"
    assert planned("T=2,4", preset="digits-sweep").name == "digits-sweep"


def test_a_comma_in_a_list_of_words_is_one_value_unless_it_is_in_brackets():
    assert parse_words(["loss.branches=a,b"]).fixed == ("loss.branches=a,b",)
    assert parse_words(["loss.branches=[a],[a,b]"]).varied[0].values == ("[a]", "[a,b]")


def test_the_identity_of_a_point_is_that_of_its_result_and_seed(tmp_path):
    (tmp_path / "nets.py").write_text("class Net: pass\n")
    words = ("arch=nets.py:Net",)

    def identity(*more):
        return planned(*words, *more).points[0].identity

    first = identity()
    assert {identity("run.name=x", "run.device=cpu"), identity("train.kernel=eager")} == {first}
    changed = {identity("seed=9"), identity("lr=0.3")}
    (tmp_path / "nets.py").write_text("class Net: changed = True\n")
    assert len({first, identity(), *changed}) == 4


def test_a_run_says_which_sweep_and_trial_created_it_and_queries_ask_for_it(tmp_path):
    loaded = load_preset("digits")
    run = launch.create(loaded, tmp_path / "runs", sweep=SweepRecord("mine", 3))
    alone = launch.create(loaded, tmp_path / "runs")
    assert read_run_json(run).sweep == SweepRecord("mine", 3)
    assert read_run_json(alone).sweep is None
    for query in ("sweep:min", "sweep=mine", "trial=3", "trial>2"):
        assert parse_query(query)(record(run)) and not parse_query(query)(record(alone))


# The sweeps that come with rbp: one for each table and figure of the paper.

RUNS = {
    "paper-cifar10": 135,
    "paper-cifar100": 135,
    "paper-imagenet": 4,
    "paper-cifar10-dvs": 6,
    "paper-gradients": 4,
    "paper-timesteps": 45,
    "paper-firing-rates": 4,
    "paper-shuffled-time": 12,
    "paper-seconds": 36,
}
TABLES = ("paper-cifar10", "paper-cifar100", "paper-imagenet", "paper-cifar10-dvs")


def test_bundled_sweeps_have_this_many_runs_and_those_of_the_papers_tables_are_its_cells_and_no_others():
    plans = {name: plan_sweep(SweepRequest(LaunchRequest(name))) for name in RUNS}
    assert {name: len(plan.points) for name, plan in plans.items()} == RUNS
    networks = ("resnet18", "resnet19", "vgg11", "vgg13", "vggsnn")
    presets = [f"{data}-{network}" for data in ("cifar10", "cifar100") for network in networks]
    presets += ["imagenet-sew_resnet34", "imagenet-preact_resnet34", "cifar10-dvs-vggsnn"]
    cells = {cell.experiment for cell in paper_cells(presets)[0]}
    assert {point.loaded.experiment for name in TABLES for point in plans[name].points} == cells
