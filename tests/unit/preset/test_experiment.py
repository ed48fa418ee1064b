"""What makes another experiment of a preset, and what does not."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.preset import experiment_hash, fields
from rbp_engine.preset.schema import Preset
from tests.unit.preset.made_presets import NETS, load, presets, refusal


@settings(max_examples=40)
@given(
    presets(),
    st.permutations(["data", "model", "neuron", "method", "loss", "optim", "train", "run"]),
    st.integers(0, 99),
)
def test_the_experiment_depends_on_neither_order_nor_seed_nor_name(preset, order, seed):
    values = preset.model_dump()
    shuffled = {section: dict(reversed(values[section].items())) for section in order}
    shuffled["run"] |= {"seed": seed, "name": "another", "tags": ["x"], "device": "cpu"}
    shuffled["train"] |= {"log_every": 3, "checkpoint_every": "1 h"}
    assert experiment_hash(Preset.model_validate(shuffled)) == experiment_hash(preset)


OTHER: dict[str, Any] = {
    "data.name": "cifar10", "data.augment_backend": "pil", "data.frames_by": "time", "data.split": "random",
    "data.resize": "legacy_pil", "data.orientation": "stored", "data.args": {"train_size": 3}, "model.name": "vgg11",
    "model.init": "paper", "model.args": {"width": 3}, "neuron.name": "mine.py:N",
    "neuron.args": {"beta": 0.5}, "neuron.surrogate": "atan",
    "neuron.surrogate_args": {"alpha": 3.0}, "neuron.reset": "hard", "neuron.v_reset": 0.5,
    "neuron.learn": ["decay"], "neuron.learn_by": "channel", "method.name": "bptt",
    "method.loss_scale": "1", "loss.name": "mse", "loss.distill": "teacher", "loss.branches": ["2"],
    "optim.name": "adam",
    "optim.schedule": "constant", "optim.schedule_by": "step", "optim.milestones": [3], "optim.lr_factors": {"fc": 3.0},
    "train.precision": "bf16", "model.pretrained_sha256": 64 * "0",
}  # fmt: skip
# Fields that only some presets accept, with the other settings that they need.
NEEDS: dict[str, dict[str, Any]] = {
    "data.args": {"data": {"name": "fake"}},
    "data.auto_augment": {"data": {"name": "cifar10"}},
    "data.size": {"data": {"name": "imagenet"}},
    "data.roll": {"data": {"name": "moving_digits"}},
    **{f"data.{name}": {"data": {"name": "cifar10_dvs"}} for name in ("frames_by", "split", "resize", "orientation")},
    "model.args": {"model": {"name": "nets.py:MyNet"}},
    "neuron.args": {"neuron": {"name": "mine.py:N"}},
    "neuron.v_reset": {"neuron": {"reset": "hard"}},
    "neuron.learn_by": {"neuron": {"learn": ["threshold"]}},
    "optim.warmup_steps": {"optim": {"schedule_by": "step"}},
    **{f"optim.{name}": {"optim": {"schedule": "multistep", "milestones": [2]}} for name in ("gamma", "milestones")},
    **{
        f"optim.restart_{what}": {"optim": {"schedule": "restarts", "restart_epochs": 2}} for what in ("epochs", "mult")
    },
    **{f"loss.distill_{name}": {"loss": {"distill": "teacher"}} for name in ("weight", "temperature")},
    **{f"loss.branches_{name}": {"loss": {"branches": ["2"]}} for name in ("weight", "distill", "temperature")},
    "loss.mse_weight": {"loss": {"name": "tet"}, "method": {"name": "bptt"}},
}


@pytest.mark.parametrize("key", [info.key for info in fields() if info.role == "result"])
def test_the_experiment_changes_with_every_result_field_but_the_seed(key):
    (info,) = [info for info in fields() if info.key == key]
    section, _, name = key.partition(".")
    value = OTHER.get(key)
    if value is None:
        value = not info.default if isinstance(info.default, bool) else info.default + 1
        value = info.default / 2 + 0.01 if isinstance(info.default, float) else value
    values = NEEDS.get(key, {})
    changed = {**values, section: {**values.get(section, {}), name: value}}
    hashes = [experiment_hash(Preset.model_validate(given)) for given in (values, changed)]
    assert (hashes[0] == hashes[1]) == (key == "run.seed")


def test_the_experiment_changes_with_nested_arguments_and_not_with_their_order():
    def of(arguments: dict[str, Any]) -> str:
        return experiment_hash(Preset.model_validate({"model": {"name": "nets.py:MyNet", "args": arguments}}))

    blocks = {"blocks": [{"width": 64, "pool": True}, {"width": 128}], "head": {"bias": False}}
    assert of(blocks) == of({"head": {"bias": False}, "blocks": [{"pool": True, "width": 64.0}, {"width": 128}]})
    assert of(blocks) != of({**blocks, "head": {"bias": True}})
    by_rate = [experiment_hash(Preset.model_validate({"optim": {"lr": lr}})) for lr in (1, 1.0, 1.5)]
    assert by_rate[0] == by_rate[1] != by_rate[2]
    assert of(blocks) != of({**blocks, "blocks": [{"width": 64, "pool": True}, {"width": 129}]})


def test_the_experiment_depends_on_the_users_file_but_not_on_its_folder():
    def of(name: str, digest: str) -> str:
        return experiment_hash(Preset.model_validate({"model": {"name": name}}), {"model.name": digest})

    assert of("nets.py:MyNet", "1") == of("/somewhere/nets.py:MyNet", "1") == of("../nets.py:MyNet", "1")
    different = [of("nets.py:MyNet", "1"), of("nets.py:MyNet", "2"), of("nets.py:Other", "1"), of("n.py:MyNet", "1")]
    assert len(set(different)) == 4


def test_what_a_method_ignores_makes_no_other_experiment_of_it():
    def hash_of(name: str, scale: str) -> str:
        return experiment_hash(Preset.model_validate({"method": {"name": name, "loss_scale": scale}}))

    assert hash_of("bptt", "1") == hash_of("bptt", "1/T")
    assert hash_of("rate_m", "1") != hash_of("rate_m", "1/T")


def test_the_experiment_depends_on_what_own_code_imports_from_its_folder():
    Path("nets.py").write_text(f"from blocks import conv\n{NETS}")
    Path("blocks").mkdir()
    Path("blocks/conv.py").write_text("width = 3\n")
    text = "[model]\nname = 'nets.py:MyNet'\n"
    first = load(text)
    assert set(first.own_code["model.name"].files) == {"nets.py", "blocks/conv.py"}
    Path("sub").mkdir()
    Path("nets.py").rename("sub/nets.py")
    Path("blocks").rename("sub/blocks")
    assert load("[model]\nname = 'sub/nets.py:MyNet'\n").experiment == first.experiment
    Path("sub/blocks/conv.py").write_text("width = 4\n")
    assert load("[model]\nname = 'sub/nets.py:MyNet'\n").experiment != first.experiment


@pytest.mark.parametrize(
    "word", ["neuron.name=mine.py:N", "neuron.surrogate=mine.py:N", "loss.name=mine.py:f", "data.name=mine.py:f"]
)
def test_the_file_of_ones_own_neuron_surrogate_loss_or_data_is_part_of_the_experiment(word):
    source = "class N: ...\ndef f(*given): ...\n"
    Path("mine.py").write_text(source)
    before = load("", word)
    Path("mine.py").write_text(f"{source}changed = True\n")
    assert load("", word).experiment != before.experiment


def test_metrics_of_ones_own_are_read_like_a_network_and_are_no_part_of_the_experiment():
    Path("sub").mkdir()
    Path("sub/mine.py").write_text("def measure(run, model): pass\n")
    Path("sub/base.toml").write_text("[probes]\nown = 'mine.py:measure'\n")
    loaded = load("extends = 'sub/base.toml'\n")
    assert loaded.own_code["probes.own"].path == Path("sub/mine.py").absolute()
    assert loaded.experiment == load("").experiment
    unknown, none = refusal("", "probes.own=sub/mine.py:measur"), refusal("[probes]\nown = 'mine.py'\n")
    assert "mine.py has no class or function called 'measur'. Did you mean" in unknown
    assert 'expected a function of your own as "mine.py:measure", or "" for none, got' in none
