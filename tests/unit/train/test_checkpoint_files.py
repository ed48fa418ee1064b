import contextlib
import errno
import functools
import itertools
import json
import os
import pickle
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.run.files.events import CheckpointSaved, Event, to_json
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.pack.archive import weights_problem
from rbp_engine.train.checkpoints import checkpoint, resuming
from rbp_engine.train.checkpoints.checkpoint import Checkpoint, Progress
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.errors import CheckpointError
from tests import damaged_files
from tests.bomb import Bomb
from tests.full_disk import files_of_at_most
from tests.limits import survives


def network(width: int = 3) -> nn.Sequential:
    torch.manual_seed(width)
    return nn.Sequential(nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.Flatten(), nn.Linear(width * 4, 2))


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


def state(model: nn.Module, optimizer: torch.optim.Optimizer | None = None) -> State:
    return State(model, create_method("rate_m", 2), optimizer or sgd(model))


def adam(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(model.parameters(), lr=0.1)


def train_a_step(model: nn.Module, optimizer: torch.optim.Optimizer) -> float:
    """A step on random images, drawn from the global generators of all three libraries."""
    images = torch.randn(8, 1, 4, 4) + random.random() + float(np.random.random())
    optimizer.zero_grad()
    loss = model(images).square().mean()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def save(folder: Path, *steps: int, model: nn.Module | None = None, extra: Any = None) -> list[Checkpoint]:
    """Save checkpoints of a new network at these steps."""
    model = model or network()
    return [
        checkpoint.save(folder, state(model), Progress(step, step // 10, step % 10), extra or {}, experiment="e")
        for step in steps
    ]


def manifest_of(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((path / "manifest.json").read_text())
    return content


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("make_optimizer", [sgd, adam])
def test_training_from_a_checkpoint_continues_exactly_as_without_it(tmp_path, make_optimizer):
    random.seed(1)
    np.random.seed(2)
    torch.manual_seed(3)
    np.random.standard_normal()  # leaves half of a pair in the generator
    model = network()
    optimizer = make_optimizer(model)
    train_a_step(model, optimizer)
    extra = {"best": {"top1": 0.5, "epoch": 2}, "last": {}, "sums": torch.tensor([1.5, 2.0]), "none": None}
    saved = checkpoint.save(tmp_path, state(model, optimizer), Progress(7, 2, 3), extra, experiment="abc")
    expected_losses = [train_a_step(model, optimizer) for _ in range(3)]
    expected, gauss = weights(model), np.random.standard_normal()

    other = network()
    other_optimizer = make_optimizer(other)
    for tensor in other.state_dict().values():
        tensor.fill_(10**6)
    for group in other_optimizer.param_groups:
        group["lr"] = 1e30
    random.seed(11)
    np.random.seed(12)
    torch.manual_seed(13)
    found, skipped = checkpoint.find_newest(tmp_path)
    assert found == saved and skipped == []
    assert (found.progress, found.world_size, found.experiment) == (Progress(7, 2, 3), 1, "abc")
    loaded = checkpoint.load(found, state(other, other_optimizer))

    assert torch.equal(loaded.pop("sums"), extra.pop("sums")) and loaded == extra
    assert [group["lr"] for group in other_optimizer.param_groups] == [0.1]
    assert [train_a_step(other, other_optimizer) for _ in range(3)] == expected_losses
    assert np.random.standard_normal() == gauss
    for name, tensor in weights(other).items():
        assert torch.equal(tensor, expected[name]), name


def test_a_weight_that_two_modules_share_is_saved_and_loaded(tmp_path):
    def shared() -> nn.Sequential:
        model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.PReLU(), nn.PReLU())
        model[1].weight, model[3] = model[0].weight, model[2]
        return model

    model, other = shared(), shared()
    [saved] = save(tmp_path, 1, model=model)
    checkpoint.load_weights(saved, other)
    assert all(torch.equal(tensor, weights(model)[name]) for name, tensor in weights(other).items())
    assert other[1].weight is other[0].weight


def test_best_is_a_hard_linked_copy_that_pruning_does_not_touch(tmp_path):
    model = network()
    [first] = save(tmp_path, 10, model=model)
    checkpoint.keep_as_best(first)
    for name in names(first.path):
        assert (tmp_path / "best" / name).samefile(first.path / name)
    with torch.no_grad():
        model[0].weight.zero_()
    save(tmp_path, 20, 30, model=model)
    assert names(tmp_path) == ["best", "step-00000020", "step-00000030"]
    best = checkpoint.find_best(tmp_path)
    assert best.progress.step == 10
    checkpoint.load_weights(best, model)
    assert bool(model[0].weight.any())


def start_again_and_save(folder: Path, progress: Progress) -> None:
    checkpoint.remove_leftovers(folder)
    checkpoint.save(folder, state(network()), progress, {}, experiment="e", best=True)


@pytest.mark.parametrize("again", [False, True], ids=["the next step", "the same step"])
def test_after_a_kill_at_any_call_of_a_save_the_next_start_has_the_newest_and_the_best(tmp_path, again):
    """Each save meets what the kill of the one before has left, and replaces the best."""
    [newest] = save(tmp_path, 10)
    checkpoint.keep_as_best(newest)
    for calls in itertools.count():
        step = newest.progress.step + (not again)
        act = functools.partial(start_again_and_save, tmp_path, Progress(step, step, calls))
        if survives(act, calls, "fsync", "mkdir", "link", "rename", "unlink", "rmdir"):
            break
        best_now = checkpoint.find_best(tmp_path)
        checkpoint.remove_leftovers(tmp_path)
        found, skipped = checkpoint.find_newest(tmp_path)
        assert skipped == [] and best_now is not None and newest.progress.step <= found.progress.step <= step
        for path in tmp_path.glob("step-*"):
            checkpoint.verify(path)  # none is partly written or pruned
        newest = found
    assert calls > 20, "nothing was killed"
    assert checkpoint.find_best(tmp_path).progress == Progress(step, step, calls)


def test_a_new_best_is_synced_before_its_renaming_and_that_before_the_old_one_is_removed(tmp_path, disk_order):
    first, second = save(tmp_path, 10, 20)
    checkpoint.keep_as_best(first)
    disk_order.clear()
    checkpoint.keep_as_best(second)
    assert disk_order == [
        "sync best.tmp", "best -> best.old", "best.tmp -> best", f"sync {tmp_path.name}", "remove best.old"
    ]  # fmt: skip


def test_a_best_that_is_missing_damaged_or_of_another_epoch_is_restored_with_a_message(tmp_path):
    """Epoch 1 is the best so far, and its checkpoint of step 10 still exists."""
    first, second = save(tmp_path, 10, 20)
    harms: list[Callable[[], object]] = [
        lambda: None,  # a kill came between the checkpoint and its copy
        lambda: (tmp_path / "best" / "model.safetensors").unlink(),
        lambda: checkpoint.keep_as_best(second),
        lambda: (tmp_path / "best").rename(tmp_path / "best.old"),
    ]
    for harm, source in zip(harms, ["step-00000010"] * 3 + ["best.old"], strict=True):
        harm()
        assert checkpoint.repair_best(tmp_path, 1).endswith(f"made again from {source}")
        best = checkpoint.find_best(tmp_path)
        assert best.path.name == "best" and best.progress.step == 10
        checkpoint.verify(first.path)
        assert checkpoint.repair_best(tmp_path, 1) == ""


def test_a_lost_best_is_reported_and_existing_files_stay(tmp_path):
    *_, second = save(tmp_path, 10, 20)
    assert checkpoint.repair_best(tmp_path, 7) == (
        "the weights of epoch 7, the best so far, are lost: best/ is missing or damaged"
    )
    checkpoint.keep_as_best(second)
    assert checkpoint.repair_best(tmp_path, 7).endswith("are lost: best/ is of epoch 2")
    assert names(tmp_path) == ["best", "step-00000010", "step-00000020"]


def test_nothing_is_pruned_before_a_new_best_has_its_copy(tmp_path, monkeypatch):
    """Otherwise a resume after a kill in between, or on a full disk, could not make it again."""
    model = network()
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "keep_as_best", lambda saved: (_ for _ in ()).throw(OSError("no space")))
        for step in (10, 20, 30):
            with pytest.raises(OSError, match="no space"):
                checkpoint.save(tmp_path, state(model), Progress(step, step // 10), {}, experiment="e", best=True)
    assert names(tmp_path) == ["step-00000010", "step-00000020", "step-00000030"]
    checkpoint.save(tmp_path, state(model), Progress(40, 4), {}, experiment="e", best=True)
    assert names(tmp_path) == ["best", "step-00000030", "step-00000040"]


def test_a_folder_without_checkpoints_has_none_and_an_unfinished_one_is_none_and_is_removed_at_the_next_start(tmp_path):
    assert checkpoint.find_newest(tmp_path / "nowhere") == (None, [])
    assert checkpoint.find_newest(tmp_path) == (None, [])
    assert checkpoint.find_best(tmp_path) is None
    [saved] = save(tmp_path, 10)
    shutil.copytree(saved.path, tmp_path / "step-00000020.tmp")
    shutil.copytree(saved.path, tmp_path / "step-20")
    found, skipped = checkpoint.find_newest(tmp_path)
    assert found == saved and skipped == []
    checkpoint.remove_leftovers(tmp_path)
    assert names(tmp_path) == ["step-00000010", "step-20"]


def truncate(path: Path) -> None:
    os.truncate(path / "model.safetensors", (path / "model.safetensors").stat().st_size // 2)


def rewrite_manifest(**changes: Any) -> Callable[[Path], None]:
    def rewrite(path: Path) -> None:
        (path / "manifest.json").write_text(json.dumps(manifest_of(path) | changes))

    return rewrite


FILES = ("model.safetensors", "optimizer.pt", "rng-rank0.pt", "manifest.json")
ABSURD = (-1, 0, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf"), "7", None, True, [], {}, [[1]], "\udcff")


def bomb(path: Path, draw: random.Random) -> None:
    content = {"optimizer": Bomb(path.parents[1] / "boom"), "extra": {}}
    if draw.random() < 0.5:
        path.write_bytes(pickle.dumps(content, protocol=draw.choice([0, 2, 4])))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=draw.random() < 0.5)


def other_values(path: Path, draw: random.Random) -> None:
    """What torch loads without complaint but was not saved there, and what no manifest says."""
    if path.suffix == ".json":
        rewrite_manifest(**{draw.choice(sorted(manifest_of(path.parent))): draw.choice(ABSURD)})(path.parent)
        return
    known = torch.load(path, weights_only=True) if path.suffix == ".pt" else {}
    if known:
        key = draw.choice(sorted(known))
        rest = {other: value for other, value in known.items() if other != key}
        known = draw.choice([{**known, key: draw.choice(ABSURD[:-1])}, rest, []])
    torch.save(known, path)


def match_manifest(path: Path) -> None:
    """Make the checksums right again: an attacker who can send a checkpoint can compute a sha256."""
    with contextlib.suppress(OSError):
        rewrite_manifest(files={name: checkpoint._describe(path / name) for name in FILES[:-1]})(path)


DAMAGES = (
    damaged_files.truncate, damaged_files.flip_bits, damaged_files.zero_a_block, damaged_files.swap,
    damaged_files.garbage, damaged_files.nest, damaged_files.remove, bomb, other_values,
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("name", FILES)
def test_of_a_damaged_checkpoint_comes_a_message_or_the_one_before_and_no_foreign_code_runs(tmp_path, name):
    save(tmp_path / "pristine", 10, 20)
    passed_over = refused = harmless = 0
    for trial, damage in enumerate(DAMAGES * 4):
        draw, folder, case = random.Random(trial), tmp_path / str(trial), f"trial {trial}: {damage.__name__}"
        newer = Path(shutil.copytree(tmp_path / "pristine", folder)) / "step-00000020"
        damage(newer / name, draw)
        if name != "manifest.json" and trial % 2:
            match_manifest(newer)
        found, skipped = checkpoint.find_newest(folder)
        try:
            checkpoint.load(found, state(network()))
        except CheckpointError as error:
            assert found.path.name == "step-00000020" and "step-00000020" in str(error), case
            refused += 1
        else:
            harmless += found.path.name == "step-00000020"
        if found.path.name == "step-00000010":
            assert len(skipped) == 1 and "step-00000020" in skipped[0] and len(skipped[0]) < 300, case
            passed_over += 1
        assert not (folder / "boom").exists(), case
    assert passed_over and (refused or name == "manifest.json")
    pickle.loads(pickle.dumps(Bomb(tmp_path / "control")))
    assert (tmp_path / "control").exists(), "the bomb is none"
    assert harmless < len(DAMAGES), "most damages must do harm, or they show nothing"


@pytest.mark.parametrize("what", [{"schema": checkpoint.SCHEMA + 1}, {"step": None}, {"files": {}}])
def test_a_manifest_of_a_later_version_or_without_its_contents_is_skipped_and_named(tmp_path, what):
    for saved in save(tmp_path, 10, 20):
        rewrite_manifest(**what)(saved.path)
    found, skipped = checkpoint.find_newest(tmp_path)
    assert found is None and ["step-00000020" in skipped[0], "step-00000010" in skipped[1]] == [True, True]


def test_a_new_checkpoint_is_not_pruned_in_favour_of_damaged_ones_of_later_steps(tmp_path):
    """After a resume from before the damaged ones, the step numbers continue below theirs."""
    for step in (30, 40, 50):
        [saved] = save(tmp_path / "elsewhere", step)
        truncate(saved.path)
        shutil.copytree(saved.path, tmp_path / "run" / saved.path.name)
    for step in (10, 15, 20):
        save(tmp_path / "run", step)
        found, _ = checkpoint.find_newest(tmp_path / "run")
        assert found.progress.step == step
    older = [name for name in names(tmp_path / "run") if name < "step-00000020"]
    assert older == ["step-00000015"]


def test_steps_of_more_than_eight_digits_come_last(tmp_path):
    run = RunDirectory(tmp_path)
    for step in (99_999_998, 99_999_999, 100_000_000):
        [saved] = save(run.checkpoints, step)
    (run.checkpoints / "step-000000001").mkdir()  # as no run calls it
    assert checkpoint.find_newest(run.checkpoints) == (saved, [])
    assert [path.name for path in run.saved_checkpoints()] == ["step-99999999", "step-100000000"]
    assert weights_problem("checkpoints/step-100000000/model.safetensors", saved.path / "model.safetensors") == ""


def test_a_lost_checkpoint_of_more_than_eight_digits_is_not_taken_for_an_older_one(tmp_path, monkeypatch):
    monkeypatch.setattr(resuming, "SEEN_WITHIN_S", 0.0)
    run = RunDirectory(tmp_path)
    save(run.checkpoints, 99_999_999)
    run.events().parent.mkdir()
    run.events().write_text(f"{to_json(Event(0, 1.0, 1, 0, 100_000_000, CheckpointSaved('step-100000000')))}\n")
    with pytest.raises(CheckpointError, match=r"step-100000000 was saved and is not in .* resumes from step-99999999"):
        resuming.newest_checkpoint(run, print, from_scratch=False)


def test_another_network_and_another_optimizer_are_an_error_that_names_the_checkpoint(tmp_path):
    [saved] = save(tmp_path, 10)
    with pytest.raises(CheckpointError, match=r"the weights of step-00000010 do not fit this network"):
        checkpoint.load(saved, state(network(width=5)))
    other = network()
    groups = [{"params": [parameter]} for parameter in other.parameters()]
    with pytest.raises(CheckpointError, match=r"step-00000010 does not fit this run"):
        checkpoint.load(saved, state(other, torch.optim.SGD(groups, lr=0.1)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda weight: weight.fill_(float("inf")),
            r"step-00000010 holds weights that are NaN or infinite \(3\.weight\).*empty its folder",
        ),
        (
            lambda weight: weight.to(torch.float16),
            r"step-00000010 do not fit .*3\.weight is torch\.float16 there, and torch\.float32",
        ),
    ],
    ids=["not finite", "another type"],
)
def test_forged_weights_are_refused_by_name_and_change_nothing(tmp_path, change, message):
    """The manifest matches, so only the content reveals it."""
    [saved] = save(tmp_path, 10)
    path = saved.path / "model.safetensors"
    tensors = safetensors.torch.load(path.read_bytes())
    safetensors.torch.save_file(tensors | {"3.weight": change(tensors["3.weight"])}, path)
    rewrite_manifest(files=manifest_of(saved.path)["files"] | {path.name: checkpoint._describe(path)})(saved.path)
    model = network()
    before = weights(model)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.load(checkpoint.verify(saved.path), state(model))
    assert all(torch.equal(tensor, before[name]) for name, tensor in weights(model).items())


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    [saved] = save(tmp_path / "run", 10)
    (tmp_path / "outside").write_text("x")
    (saved.path / "outside").write_text("x")
    described, files = checkpoint._describe(tmp_path / "outside"), manifest_of(saved.path)["files"]
    for name in ("../../outside", "out\0side"):
        rewrite_manifest(files=files | {name: described})(saved.path)
        with pytest.raises(CheckpointError, match="names what is no file of it"):
            checkpoint.verify(saved.path)


@pytest.mark.parametrize("lost", ["optimizer.pt", "manifest.json"])
def test_what_a_disk_does_not_return_as_it_was_written_is_no_checkpoint_and_replaces_none(tmp_path, monkeypatch, lost):
    """The disk loses the end of a file, as some do on the way to a server; the older checkpoints stay, the best too."""
    *_, newest = save(tmp_path, 10, 20)
    checkpoint.keep_as_best(newest)
    fsync = os.fsync

    def lose(file: int) -> None:
        fsync(file)
        if lost in Path(f"/proc/self/fd/{file}").readlink().name:
            os.ftruncate(file, os.fstat(file).st_size // 2)

    monkeypatch.setattr(os, "fsync", lose)
    for step in (20, 30):
        with pytest.raises(CheckpointError, match=f"does not return what was written .step-000000{step}.tmp"):
            save(tmp_path, step)
    monkeypatch.undo()
    assert names(tmp_path) == ["best", "step-00000010", "step-00000020"]
    for name in names(tmp_path):
        checkpoint.verify(tmp_path / name)


def test_a_manifest_names_what_was_written_whatever_a_listing_shows(tmp_path, monkeypatch):
    """Btrfs lists for a descriptor what was in the folder when it was opened; a cache of folders does alike."""
    monkeypatch.setattr(os, "listdir", lambda folder: [])
    [saved] = save(tmp_path, 10)
    checkpoint.keep_as_best(saved)
    monkeypatch.undo()
    assert checkpoint.verify(saved.path) == saved and len(saved.files) == 3
    best = checkpoint.find_best(tmp_path)
    assert best.files == saved.files


def test_a_failed_save_is_an_os_error_and_leaves_earlier_checkpoints_intact(tmp_path):
    """The first file that does not fit is that of the weights, the optimizer, the generators."""
    for step, room, width in ((1, None, 100), (2, 5_000, 100), (2, 41_500, 100), (2, 4_000, 2)):
        model = nn.Linear(width, width)
        optimizer = sgd(model)
        model(torch.ones(1, width)).sum().backward()
        optimizer.step()
        if room is None:
            checkpoint.save(tmp_path, state(model, optimizer), Progress(step), {}, experiment="e")
            continue
        with files_of_at_most(room), pytest.raises(OSError, match=os.strerror(errno.EFBIG)):
            checkpoint.save(tmp_path, state(model, optimizer), Progress(step), {}, experiment="e")
        assert names(tmp_path) == ["step-00000001"]
    found, skipped = checkpoint.find_newest(tmp_path)
    assert found is not None and skipped == []
