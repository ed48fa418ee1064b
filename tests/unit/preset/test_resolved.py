import tempfile
from pathlib import Path

import tomli
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.preset import experiment_hash, fields, read_resolved, resolved_toml
from rbp_engine.preset.schema import Preset
from rbp_engine.preset.surrogates import SURROGATE_ARGUMENTS

WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LABEL = st.text("abcé -_.:", max_size=8).filter(lambda text: text not in {".", ".."})
POSITIVE = st.floats(0, exclude_min=True, allow_infinity=False)
FIGURE = st.fixed_dictionaries(
    {"method": WORDS, "timesteps": st.integers(1), "top1": st.one_of(st.floats(0, 1), st.just("not known"))}
)


@st.composite
def presets(draw: st.DrawFn) -> Preset:
    surrogate = draw(st.sampled_from(sorted(SURROGATE_ARGUMENTS)))
    finite = st.floats(allow_nan=False, allow_infinity=False)
    arguments = st.dictionaries(st.sampled_from(SURROGATE_ARGUMENTS[surrogate]), finite)
    return Preset.model_validate(
        {
            "title": draw(WORDS),
            "description": draw(WORDS),
            "paper": draw(st.none() | st.fixed_dictionaries({"note": WORDS, "figures": st.lists(FIGURE, max_size=3)})),
            "data": {"batch_size": draw(st.integers(1, 2**40)), "flip": draw(st.booleans())},
            "neuron": {
                "reset": "hard",
                "v_reset": draw(finite),
                "threshold": draw(POSITIVE),
                "surrogate": surrogate,
                "surrogate_args": draw(arguments),
            },
            "optim": {"lr": draw(POSITIVE | st.integers(1, 9)), "name": draw(st.sampled_from(["sgd", "adam"]))},
            "run": {"seed": draw(st.integers(0, 2**63)), "name": draw(LABEL), "tags": draw(st.lists(LABEL))},
        }
    )


@settings(deadline=None)
@given(presets())
def test_a_resolved_preset_reads_back_equal(preset: Preset) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preset.toml"
        path.write_bytes(resolved_toml(preset).encode())
        again = read_resolved(path)
    assert again == preset
    assert experiment_hash(again) == experiment_hash(preset)


def test_every_field_is_written() -> None:
    written = tomli.loads(resolved_toml(Preset()))
    for info in fields():
        if not info.key.startswith("paper"):
            section, _, name = info.key.partition(".")
            assert name in written[section] if name else section in written, info.key


@settings(deadline=None)
@given(presets(), st.permutations(["data", "model", "neuron", "method", "optim", "train", "run"]), st.integers(0, 99))
def test_the_experiment_depends_on_neither_order_nor_seed_nor_name(preset: Preset, order: list[str], seed: int) -> None:
    values = preset.model_dump()
    shuffled = {section: dict(reversed(values[section].items())) for section in order}
    shuffled["run"] |= {"seed": seed, "name": "another", "tags": ["x"], "device": "cpu"}
    shuffled["train"] |= {"log_every": 3, "checkpoint_every": "1 h"}
    assert experiment_hash(Preset.model_validate(shuffled)) == experiment_hash(preset)


def test_the_experiment_is_the_same_for_an_integer_and_its_float() -> None:
    def of(lr: float, alpha: float) -> str:
        values = {"optim": {"lr": lr}, "neuron": {"surrogate_args": {"alpha": alpha}}}
        return experiment_hash(Preset.model_validate(values))

    assert of(1, 2) == of(1.0, 2.0)
    assert of(1, 2) != of(1.5, 2)


def test_the_experiment_changes_with_every_result_field() -> None:
    other = {
        "data.name": "cifar10", "model.name": "vgg11", "model.init": "paper", "neuron.surrogate": "atan",
        "neuron.surrogate_args": {"alpha": 3.0}, "neuron.reset": "hard", "method.name": "bptt",
        "method.loss_scale": "1", "optim.name": "adam", "optim.schedule": "constant",
    }  # fmt: skip
    unchangeable = {"train.precision", "neuron.v_reset", "run.seed"}
    hashes = {experiment_hash(Preset())}
    keys = [info for info in fields() if info.role == "result" and info.key not in unchangeable]
    for info in keys:
        section, _, name = info.key.partition(".")
        new = other.get(info.key, not info.default if isinstance(info.default, bool) else None)
        value = info.default / 2 + 0.01 if isinstance(info.default, float) else info.default
        value = value + 1 if isinstance(value, int) and not isinstance(value, bool) else value
        values = {section: {name: value if new is None else new}}
        hashes.add(experiment_hash(Preset.model_validate(values)))
    assert len(hashes) == len(keys) + 1
