"""A pair: one setting with several values, over the same seeds."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.errors import UserError
from rbp_engine.preset import PresetError, read_resolved
from rbp_engine.preset.sweep.varied import Varied
from rbp_engine.run import start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.pair import parse_pair
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status.status import judge

values = st.text("abz019.-/:=", min_size=1) | st.lists(st.text("ab,19", min_size=1), min_size=1).map(
    lambda items: "[" + ", ".join(f'"{item}"' for item in items) + "]"
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_STATE_HOME", "RBP_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)


def request(text: str, *words: str, **more: object) -> LaunchRequest:
    return LaunchRequest("digits", words, pair=parse_pair(text), **more)  # type: ignore[arg-type]


@given(st.sampled_from(["T", "method", "model.args", "neuron.surrogate_args.alpha"]), st.lists(values, min_size=2))
def test_a_pair_is_read_as_it_is_written_with_lists_as_single_values(name: str, listed: list[str]) -> None:
    pair = Varied(name, tuple(listed))
    assert parse_pair(str(pair)) == pair
    assert pair.words == tuple(f"{name}={value}" for value in listed)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("method", "expected one setting and its values, as method=bptt,rate_m"),
        ("=a,b", "expected one setting"),
        ("method=", "two or more values"),
        ("method=bptt", "two or more values"),
        ("method=bptt,", "two or more values"),
        ("model.args={a=1,b=2}", "two or more values"),
        ("seed=1,2", "give them with --seeds"),
        ("run.seed=1,2", "give them with --seeds"),
    ],
)
def test_text_that_is_no_pair_is_refused_with_the_reason(text: str, told: str) -> None:
    with pytest.raises(RunError, match=told):
        parse_pair(text)


def test_problems_of_all_values_and_of_other_settings_are_reported_at_once_and_each_once() -> None:
    with pytest.raises(PresetError) as caught:
        request("T=0,4,x", "epochs=never").load_each()
    assert [problem.place for problem in caught.value.problems] == ["T=0", "epochs=never", "T=x"]
    with pytest.raises(PresetError, match="1 problem") as caught:
        request("mehtod=bptt,rate_m").load_each()
    assert "unknown key. Did you mean 'method'?" in str(caught.value)


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (request("T=4,+4"), "T=4 and T=\\+4 are the same experiment$"),
        (request("train.kernel=eager,compiled"), "same experiment, as train.kernel does not change what is learned"),
        (request("run.name=a,b"), "same experiment, as run.name does not change"),
        (request("method=bptt,rate_m", "method.name=sltt"), "both --pair method=bptt,rate_m and method.name=sltt"),
        (request("T=2,4", run_id="mine"), "--id names one run, and --pair makes several"),
        (request("T=2,4", "seed=1", seeds=(1, 2)), "both --seeds and seed= are given"),
        (request("T=2,4", seeds=tuple(range(501))), "at most 1000 runs at a time, got 1002"),
        (request("data=digits,cifar10"), "cifar10"),
        (request("T=2,4", gpus="some"), "expected auto, none, or cards"),
    ],
)
def test_a_pair_that_makes_no_sense_is_refused_before_anything_is_created(
    tmp_path: Path, asked: LaunchRequest, told: str
) -> None:
    with pytest.raises(UserError, match=told):
        start.start_runs(asked)
    assert not (tmp_path / "runs").exists()


def test_the_runs_of_a_seed_follow_each_other_and_wait_in_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(start, "ensure_dispatcher", lambda: None)  # nothing is to be trained
    asked = request("method=bptt,rate_m", "T=2", seeds=(3, 5), gpus="none")
    runs = start.start_runs(asked).runs
    made = [load_summary(run) for run in runs]
    assert [(one.seed, one.method, one.timesteps) for one in made] == [
        (3, "bptt", 2), (3, "rate_m", 2), (5, "bptt", 2), (5, "rate_m", 2)
    ]  # fmt: skip
    assert {judge(run).status for run in runs} == {"queued"}
    settings = [read_resolved(run.preset_toml).model_dump(exclude={"run": {"seed"}}) for run in runs]
    assert settings[0] == settings[2] and settings[1] == settings[3]
    settings[0]["method"]["name"] = "rate_m"
    assert settings[0] == settings[1]


def test_without_seeds_there_is_one_pair_of_the_presets_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ensure_dispatcher", lambda: None)
    runs = start.start_runs(request("T=2,4,6", "seed=7", gpus="none")).runs
    assert [(one.seed, one.timesteps) for one in map(load_summary, runs)] == [(7, 2), (7, 4), (7, 6)]


def test_if_one_of_the_runs_cannot_be_created_none_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, made = launch.create, []

    def full_disk(*given: object, **more: object) -> object:
        if len(made) == 3:
            raise RunError("no space left")
        made.append(create(*given, **more))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(launch, "create", full_disk)
    with pytest.raises(RunError, match="no space left"):
        start.start_runs(request("T=2,4", seeds=(1, 2), gpus="none"))
    assert len(made) == 3 and not list((tmp_path / "runs").glob("*/run.json"))


def test_the_command_of_a_pair_makes_the_same_request_and_a_later_single_run_has_none() -> None:
    asked = request("T=2,4", "lr=0.1", seeds=(1, 2))
    assert shlex.join(asked.command) == "rbp train digits lr=0.1 --pair T=2,4 --seeds 1,2"
    assert shlex.join(asked.changed("lr", "0.2").command) == "rbp train digits seed=1 lr=0.2"
    assert [shlex.join(one.command) for one in asked.each()] == [
        "rbp train digits lr=0.1 T=2 --seeds 1,2 --gpus auto",
        "rbp train digits lr=0.1 T=4 --seeds 1,2 --gpus auto",
    ]
