"""Weights from a file: what fits is taken, what does not is named, and nothing in the file is executed."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from rbp_engine.errors import SettingsError
from rbp_engine.preset import LoadedPreset, PresetError, load_text
from rbp_engine.train.pretrained import load_pretrained, read_weights, take
from tests.bomb import Bomb


def network(classes: int = 3, width: int = 4) -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, width), nn.BatchNorm1d(width), nn.Linear(width, classes))


def loaded(file: str, folder: Path, *overrides: str) -> LoadedPreset:
    return load_text(f'[model]\npretrained = "{file}"\n', folder / "mine.toml", overrides)


def test_a_head_of_another_class_count_is_left_as_drawn(tmp_path):
    there, here = network(classes=3), network(classes=5)
    head = here.get_parameter("2.weight").detach().clone()
    save_file(there.state_dict(), tmp_path / "w.safetensors")
    told = load_pretrained(loaded("w.safetensors", tmp_path).preset.model, here)
    for name, expected in (("0.weight", there.get_parameter("0.weight")), ("2.weight", head)):
        torch.testing.assert_close(here.get_parameter(name), expected, rtol=0, atol=0)
    assert told == (
        f"weights from {tmp_path}/w.safetensors: 7 tensors taken; of another shape and left as drawn: "
        "2.weight ([3, 4] there, [5, 4] here), 2.bias ([3] there, [5] here)"
    )


@pytest.mark.parametrize(
    ("wrapped", "prefix"), [(None, ""), ("state_dict", ""), ("model", ""), (None, "module."), ("model", "module.")]
)
def test_what_torch_saved_is_taken_in_the_forms_that_people_save(tmp_path, wrapped, prefix):
    there = network()
    saved: Any = {f"{prefix}{key}": tensor for key, tensor in there.state_dict().items()}
    torch.save({wrapped: saved, "epoch": 3} if wrapped else saved, tmp_path / "w.pth")
    here = network()
    assert take(read_weights(tmp_path / "w.pth"), here, "w.pth") == "9 tensors taken"
    torch.testing.assert_close(here.state_dict(), there.state_dict(), rtol=0, atol=0)


@pytest.mark.parametrize("folder", ["", "checkpoints/best", "checkpoints/best.old"])
def test_a_folder_is_a_checkpoint_or_a_run_also_one_killed_while_it_replaced_its_best(tmp_path, folder):
    (tmp_path / "there" / folder).mkdir(parents=True)
    file = tmp_path / "there" / folder / "model.safetensors"
    save_file(network().state_dict(), file)
    for name in ("there", f"there/{folder}"):
        assert loaded(name, tmp_path).preset.model.pretrained == str(file)


def test_names_that_are_only_here_or_only_there_are_named_and_without_a_common_one_the_weights_refused():
    weights = network().state_dict()
    weights["extra"] = weights.pop("2.bias")
    told = take(weights, network(), "w")
    assert told == "8 tensors taken; not in the file and left as drawn: 2.bias; in the file and not used: extra"
    with pytest.raises(
        SettingsError, match=r"no weight of w fits this network: it has a, the network 0\.weight, 0\.bias"
    ):
        take({"a": torch.zeros(3)}, network(), "w")


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_a_file_that_would_execute_code_is_refused_and_executes_nothing(tmp_path):
    bomb = Bomb(tmp_path / "executed")
    torch.save({"weight": bomb}, tmp_path / "w.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(bomb))
    for name in ("w.pth", "plain.pth"):
        with pytest.raises(SettingsError, match=r"holds no weights that can be read safely .* save model\.state_dict"):
            read_weights(tmp_path / name)
    assert not (tmp_path / "executed").exists()


def test_the_hash_of_the_contents_is_the_experiments_and_the_path_is_not(tmp_path):
    torch.save(network().state_dict(), tmp_path / "a.pth")
    (tmp_path / "b.pth").write_bytes((tmp_path / "a.pth").read_bytes())
    torch.save(network().state_dict(), tmp_path / "c.pth")
    a, b, c = (loaded(name, tmp_path) for name in ("a.pth", "b.pth", "c.pth"))
    assert a.preset.model.pretrained == str(tmp_path / "a.pth")
    assert len({a.experiment, b.experiment}) == 1
    assert len({a.experiment, c.experiment, load_text("", tmp_path / "mine.toml").experiment}) == 3


def test_a_missing_file_and_one_with_other_contents_are_problems_of_the_preset(tmp_path):
    with pytest.raises(PresetError, match=r"cannot read the weights: .*w\.pth"):
        loaded("w.pth", tmp_path)
    torch.save(network().state_dict(), tmp_path / "w.pth")
    hashed = f"model.pretrained_sha256={'0' * 64}"
    with pytest.raises(PresetError, match=r"w\.pth has other contents than the weights of this experiment"):
        loaded("w.pth", tmp_path, hashed)


def test_a_file_that_changed_after_the_launch_is_refused(tmp_path):
    torch.save(network().state_dict(), tmp_path / "w.pth")
    section = loaded("w.pth", tmp_path).preset.model
    torch.save(network(width=6).state_dict(), tmp_path / "w.pth")
    with pytest.raises(SettingsError, match=r"w\.pth has changed since the run was made"):
        load_pretrained(section, network())


def test_weights_that_are_not_finite_are_refused():
    weights = network().state_dict()
    weights["2.bias"][1] = float("nan")
    with pytest.raises(SettingsError, match=r"weights of w\.pth are NaN or infinite \(2\.bias\)"):
        take(weights, network(), "w.pth")


def test_a_file_too_large_to_be_weights_is_refused_before_it_is_read(tmp_path):
    with (tmp_path / "w.pth").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(PresetError, match="larger than 64 GiB"):
        loaded("w.pth", tmp_path)
