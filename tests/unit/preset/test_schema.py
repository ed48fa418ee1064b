import inspect
import re
import subprocess
import sys
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rbp_engine.preset import PresetError, fields, load_preset, parse_checkpoint_every
from rbp_engine.preset.fields import by_key
from rbp_engine.preset.schema import Preset
from rbp_engine.vocabulary import SURROGATE_ARGUMENTS


def test_every_field_has_a_role_and_one_sentence():
    for info in fields():
        assert info.role in {"result", "cost", "place"}, info.key
        assert info.text.endswith((".", '".')) and info.text[0].isupper(), info.key
        assert info.type, info.key


def test_result_fields_are_exactly_those_that_change_the_result():
    others = {info.key for info in fields() if info.role != "result" and not info.key.startswith("paper")}
    assert others == {
        "title", "description", "train.kernel", "train.log_every", "train.checkpoint_every", "data.workers",
        "probes.firing_rates", "probes.health", "probes.own", "probes.gradients", "probes.gradients_images",
        "probes.energy", "guard.max_time", "guard.max_steps", "guard.alerts", "run.device", "run.name", "run.tags",
        "model.pretrained",
    }  # fmt: skip


def test_a_preset_is_frozen():
    with pytest.raises(ValidationError):
        Preset().optim.lr = 1.0


def test_choices_are_the_literal_values() -> None:
    assert by_key()["model.name"].choices[:3] == ("convnet", "resnet18", "resnet19")
    assert by_key()["optim.name"].choices == ("sgd", "adam", "adamw")
    assert by_key()["optim.lr"].choices == ()
    assert by_key()["neuron.surrogate"].choices == tuple(SURROGATE_ARGUMENTS)


def test_surrogates_and_their_arguments_are_those_of_spikingjelly():
    surrogate = pytest.importorskip("spikingjelly.activation_based.surrogate")
    classes: dict[str, Any] = {}
    for name, candidate in inspect.getmembers(surrogate, inspect.isclass):
        parameters = tuple(inspect.signature(candidate.backward).parameters) if hasattr(candidate, "backward") else ()
        # The two passes return the gradient unchanged, so they are no surrogates of a spike.
        if parameters[:2] == ("grad_output", "x") and name not in {"DeterministicPass", "PoissonPass"}:
            classes[name.lower()] = parameters[2:]
    assert classes == {name.replace("_", ""): taken for name, taken in SURROGATE_ARGUMENTS.items()}


@pytest.mark.parametrize(
    "text", ["", "1", "epoch", "0 epochs", "-1 s", "0.5 s", "1  h", "1 h ", "1 y", "१ h", "1 h\n", "1000001 epochs"]
)
def test_other_checkpoint_intervals_are_refused(text):
    with pytest.raises(ValueError, match="expected epochs from 1 to a million, or a time"):
        parse_checkpoint_every(text)


UNITS = {"epoch": 1, "epochs": 1, "s": 1, "min": 60, "h": 3600}


@given(st.integers(1, 10**6), st.sampled_from(["", ".5"]), st.sampled_from(sorted(UNITS)), st.sampled_from(["", " "]))
def test_a_checkpoint_interval_is_a_number_of_epochs_or_a_time(amount, half, unit, space):
    half = "" if unit.startswith("epoch") else half
    expected = float(f"{amount}{half}") * UNITS[unit]
    kind = "epochs" if unit.startswith("epoch") else "seconds"
    assert parse_checkpoint_every(f"{amount}{half}{space}{unit}") == (kind, expected)


def test_importing_presets_loads_neither_pydantic_nor_torch():
    code = (
        "import sys, rbp_engine.preset, rbp_engine.settings.machine, rbp_engine.data.catalog as c;"
        "c.catalogued('digits').find();"
        "print({'pydantic', 'torch', 'tomlkit', 'textual', 'typer'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_every_whole_number_has_a_maximum_which_is_told_with_the_field_and_with_a_larger_one(tmp_path):
    path, numbers = tmp_path / "big.toml", [info for info in fields() if info.type == "integer"]
    assert len(numbers) == 20
    for info in numbers:
        (most,) = re.findall(r"<= (\d+)$", info.constraints)
        if "[]" in info.key:
            continue
        section, _, name = info.key.partition(".")
        for number in (int(most) + 1, 10**12 if int(most) < 10**12 else 10**30):
            path.write_text(f"[{section}]\n{name} = {number}\n")
            with pytest.raises(PresetError, match=rf"{info.key} \(line 2\)  must be at most {most}, got "):
                load_preset(str(path))
