"""The settings of listed runs, from run.json."""

from pathlib import Path
from typing import Any

import pytest

from rbp_engine.preset import SHORT_NAMES, load_preset, resolved_toml
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.run_settings import differing_settings, dotted_key, read_settings
from rbp_engine.run.store.store import RunRecord
from rbp_engine.untrusted_files import parse_toml
from tests.run_files import change_identity, write_identity


def write(folder: Path, name: str, text: str) -> RunDirectory:
    run = RunDirectory(folder / name)
    write_identity(run, Summary(run.id, "digits", "e", "rate_m", 4, 1), settings=parse_toml(text))
    return run


def record(folder: Path, name: str, text: str) -> RunRecord:
    run = write(folder, name, text)
    return RunRecord(run, Summary(run.id, "digits", "e", "rate_m", 4, 1), Verdict("completed", ""))


def preset(*words: str, name: str = "digits") -> str:
    return resolved_toml(load_preset(name, words).preset)


def test_settings_nested_too_deep_are_none(tmp_path):
    run = write(tmp_path, "run", "")
    deep: Any = 1
    for _ in range(100):
        deep = [deep]
    change_identity(run, settings={"optim": {"lr": deep}})
    assert read_settings(run).sections == read_settings(RunDirectory(Path("not/there"))).sections == ()


def test_settings_in_which_runs_on_the_same_data_differ_come_by_weight(tmp_path):
    words = [
        ("train.kernel=eager", "lr=0.1"),
        ("lr=0.2", "seed=2", "run.device=cpu", "run.name=other"),
        ("neuron.surrogate_args.alpha=2", "optim.momentum=0.5"),
    ]
    runs = [record(tmp_path, f"run-{number}", preset(*some)) for number, some in enumerate(words)]
    other = record(tmp_path, "other", preset("batch=7", "lr=9", name="mnist5k"))
    assert differing_settings([*runs, other]) == [
        "optim.lr", "run.seed", "neuron.surrogate_args.alpha", "optim.momentum", "train.kernel",
    ]  # fmt: skip
    assert differing_settings(runs[:1]) == differing_settings([]) == []


def test_a_run_without_a_value_differs_from_none(tmp_path):
    older = record(tmp_path, "older", preset().replace("momentum = 0.9\n", ""))
    assert differing_settings([older, record(tmp_path, "run", preset())]) == []


@pytest.mark.parametrize(
    ("name", "key"),
    [*SHORT_NAMES.items(), ("optim.lr", "optim.lr"), ("data.args.x", "data.args.x")]
    + [(name, None) for name in ("best", "optim", "optim.", "optim.lr.x", "paper.figures[].top1", "")],
)
def test_a_field_has_its_key_by_any_of_its_names_and_others_have_none(name, key):
    assert dotted_key(name) == key
