"""The teacher of a run, from the run's own copy of its weights."""

import torch
from torch import Tensor

from rbp_engine.data.feed import Feed
from rbp_engine.data.preprocess import Frames, Pixels
from rbp_engine.errors import SettingsError
from rbp_engine.methods import create_method
from rbp_engine.methods.loss import Distillation
from rbp_engine.preset.schema import Preset
from rbp_engine.probes.random_numbers import random_numbers_put_back
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.build import build_network, choose_kernel
from rbp_engine.train.checkpoints.checkpoint import load_weights_file
from rbp_engine.train.checkpoints.recipe import Recipe, read_recipe
from rbp_engine.train.errors import CheckpointError


def build_teacher(run: RunDirectory, preset: Preset, feed: Feed, device: torch.device) -> Distillation | None:
    """The distillation of a run, None if it has none.

    Raises SettingsError for a teacher of other data, and CheckpointError if its weights cannot be used.
    """
    if not preset.loss.distill:
        return None
    try:
        return _build(run, preset, feed, device)
    except CheckpointError as error:
        remedy = "It is this run's copy of its teacher: put the teacher's best model.safetensors there, or train anew"
        raise CheckpointError(f"{error}. {remedy}") from error


def _build(run: RunDirectory, preset: Preset, feed: Feed, device: torch.device) -> Distillation:
    recipe = read_recipe(run.teacher)
    if recipe is None:
        raise CheckpointError(f"{run.teacher} does not say which network it is of")
    _check(recipe, preset, feed)
    theirs = recipe.preset
    with random_numbers_put_back():  # the student's dropout does not depend on how its teacher was built
        model = build_network(
            theirs,
            classes=recipe.classes,
            channels=recipe.preprocess.channels,
            code=run.code,
            kernel=choose_kernel(preset, len(feed.train), device)[0],
            device=device,
        )
    load_weights_file(run.teacher, "the teacher", model)
    method = create_method(theirs.method.name, theirs.method.timesteps, precision=theirs.train.precision)
    model.eval()
    other = _renormalisation(recipe, feed, device)

    def teacher(images: Tensor) -> Tensor:
        """Mean logits [B, C] over the teacher's own T timesteps, of inputs that were made for the student."""
        if other is not None:
            scale, shift = other
            images = images * scale + shift
        return method.predict(model, images, time=feed.has_time).mean(0)

    return Distillation(teacher, preset.loss.distill_weight, preset.loss.distill_temperature)


def _check(recipe: Recipe, preset: Preset, feed: Feed) -> None:
    there, here = recipe.preprocess, feed.preprocess
    compared = [
        ("classes", recipe.classes, feed.classes),
        ("channels", there.channels, here.channels),
        ("kind of data", "images" if isinstance(there, Pixels) else "frames", "frames" if feed.has_time else "images"),
    ]
    if feed.has_time:
        compared.append(("timesteps of frames", recipe.preset.method.timesteps, preset.method.timesteps))
    for what, theirs, ours in compared:
        if theirs != ours:
            raise SettingsError(f"the teacher (loss.distill) was trained on other data: {what} {theirs}, here {ours}")


def _renormalisation(recipe: Recipe, feed: Feed, device: torch.device) -> tuple[Tensor, Tensor] | None:
    """The scale and shift [C, 1, 1] that undo the student's normalisation and apply the teacher's; None for none."""
    there, here = recipe.preprocess, feed.preprocess
    if isinstance(there, Frames) and isinstance(here, Frames):
        scale = torch.tensor(there.scale / here.scale, device=device)
        return None if there.scale == here.scale else (scale, torch.zeros_like(scale))
    assert isinstance(there, Pixels) and isinstance(here, Pixels)
    if (there.mean, there.deviation) == (here.mean, here.deviation):
        return None
    ours, theirs = (
        [torch.tensor(values, device=device).view(-1, 1, 1) for values in (preprocess.mean, preprocess.deviation)]
        for preprocess in (here, there)
    )
    return ours[1] / theirs[1], (ours[0] - theirs[0]) / theirs[1]
