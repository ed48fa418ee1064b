"""Checkpoints that were damaged, by accident or on purpose, in many ways."""

import hashlib
import json
import os
import pickle
import shutil

import pytest
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.train.checkpoints import checkpoint
from rbp_engine.train.checkpoints.checkpoint import Progress
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.errors import CheckpointError
from tests.damaged_files import flip_bits, garbage, nest, remove, swap, truncate, zero_a_block

FILES = ("model.safetensors", "optimizer.pt", "rng-rank0.pt", "manifest.json")
ABSURD = (-1, 0, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), "7", None, True, [], {}, [[1]], "\udcff")


class Bomb:
    """Unpickling this creates a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def bomb(path, draw):
    value = draw.choice([Bomb(path.parents[2] / "boom"), {"optimizer": Bomb(path.parents[2] / "boom"), "extra": {}}])
    if draw.random() < 0.5:
        path.write_bytes(pickle.dumps(value, protocol=draw.choice([0, 2, 4])))
    else:
        torch.save(value, path, _use_new_zipfile_serialization=draw.random() < 0.5)


def other_values(path, draw):
    """Content that torch loads without complaint but that was not saved there."""
    if path.suffix == ".json":
        return absurd_manifest(path, draw)
    state = torch.load(path, weights_only=True) if path.suffix == ".pt" else {}
    if isinstance(state, dict) and state:
        key = draw.choice(sorted(state))
        state = draw.choice(
            [{**state, key: draw.choice(ABSURD[:-1])}, {k: v for k, v in state.items() if k != key}, []]
        )
    torch.save(state, path)
    return None


def absurd_manifest(path, draw):
    path = path.parent / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest[draw.choice(sorted(manifest))] = draw.choice(ABSURD)
    path.write_text(json.dumps(manifest))


def match_manifest(path):
    """Make the checksums right again: an attacker who can send a checkpoint can compute a sha256."""
    try:
        manifest = json.loads((path / "manifest.json").read_bytes())
        for name in manifest["files"]:
            content = (path / name).read_bytes()
            manifest["files"][name] = {"size": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        (path / "manifest.json").write_text(json.dumps(manifest))
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return


DAMAGES = (
    truncate, flip_bits, zero_a_block, swap, garbage, nest, remove, bomb, other_values, absurd_manifest
)  # fmt: skip


def make_network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2))


def make_state(model):
    return State(model, create_method("rate_m", 2), torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """Two checkpoints, at steps 10 and 20."""
    folder = tmp_path_factory.mktemp("pristine")
    model = make_network()
    state = make_state(model)
    for step in (10, 20):
        model(torch.randn(4, 4)).square().mean().backward()
        state.optimizer.step()
        checkpoint.save(folder, state, Progress(step, 1, 2), {"sums": torch.ones(3)}, experiment="e")
    return folder


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_of_a_damaged_checkpoint_comes_a_message_or_the_one_before_and_no_foreign_code_runs(
    pristine, tmp_path, draw, trials
):
    passed_over = refused = harmless = 0
    for trial in range(4 * trials):
        folder = tmp_path / str(trial) / "checkpoints"
        shutil.copytree(pristine, folder)
        damage, name = DAMAGES[trial % len(DAMAGES)], draw.choice(FILES)
        case = f"trial {trial}: {damage.__name__} {name}"
        damage(folder / "step-00000020" / name, draw)
        if name != "manifest.json" and draw.random() < 0.5:
            match_manifest(folder / "step-00000020")
        found, skipped = checkpoint.find_newest(folder)
        assert found is not None, case
        if found.path.name == "step-00000010":
            assert len(skipped) == 1 and "step-00000020" in skipped[0] and len(skipped[0]) < 300, (case, skipped)
            passed_over += 1
        model = make_network()
        try:
            checkpoint.load(found, make_state(model))
            harmless += found.path.name == "step-00000020"
        except CheckpointError as error:
            assert found.path.name == "step-00000020" and "step-00000020" in str(error), case
            refused += 1
        except Exception as error:
            raise AssertionError(f"{case}: {type(error).__name__}: {error}") from error
        assert not (tmp_path / str(trial) / "boom").exists() and not (tmp_path / "boom").exists(), case
        best = checkpoint.find_best(folder)
        assert best is None
    assert passed_over and refused
    assert harmless < trials, "most damages must do harm, or they show nothing"
    print(f"{4 * trials} damages: {passed_over} passed over, {refused} refused by name, {harmless} harmless")
