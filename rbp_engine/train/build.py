"""From a run's preset to what trains: data, network, method, optimizer, and whether neurons are compiled."""

from collections.abc import Callable
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rbp_engine.data.feed import Feed
from rbp_engine.data.loading.shares import parts_of
from rbp_engine.data.open_feed import open_feed
from rbp_engine.errors import OwnCodeError, SettingsError
from rbp_engine.methods import (
    Distillation,
    Loss,
    Method,
    SelfDistillation,
    WithBranches,
    create_method,
    with_branches,
)
from rbp_engine.methods.loss import OwnLoss
from rbp_engine.models import create_model
from rbp_engine.preset.contradictions import too_long
from rbp_engine.preset.schema import Preset
from rbp_engine.printable import one_line
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking.layers import compiler
from rbp_engine.spiking.layers.compiler import Kernel
from rbp_engine.train.optimisation import add_branches, create_optimizer
from rbp_engine.train.schedule import Schedule
from rbp_engine.user_code import is_own, load_own
from rbp_engine.vocabulary import RATE_METHODS, LossName

# Images times timesteps. Below this, compiling takes longer than it saves: some seconds, more on a busy machine.
LONG_RUN = 1_000_000


def build_feed(
    run: RunDirectory,
    preset: Preset,
    device: torch.device,
    timesteps: int | None = None,
    *,
    rank: int = 0,
    world_size: int = 1,
) -> Feed:
    """The data of a run; `timesteps` replaces the preset's T for an evaluation."""
    return open_feed(
        preset.data,
        timesteps=preset.method.timesteps if timesteps is None else timesteps,
        seed=preset.run.seed,
        held_out=preset.train.validation_split,
        device=device,
        own_code=run.code,
        rank=rank,
        world_size=world_size,
    )


def build_model(
    run: RunDirectory,
    preset: Preset,
    feed: Feed,
    device: torch.device,
    notify: Callable[[str], None] = lambda text: None,
) -> nn.Module:
    """The network of a run with newly drawn weights, on the device; `notify` gets what its user should know of it.

    Parameters that get their shape from the first input, such as those of neurons by channel, have seen a batch.
    """
    kernel = choose_kernel(preset, len(feed.train), device)[0]
    model = build_network(
        preset,
        classes=feed.classes,
        channels=feed.preprocess.channels,
        code=run.code,
        kernel=kernel,
        device=device,
        notify=notify,
    )
    if any(map(is_lazy, model.parameters())):
        images, _ = next(iter(feed.train.epoch(0)))
        build_method(preset, None).predict(model, images, time=feed.has_time)
    return model


def build_branches(preset: Preset, model: nn.Module, feed: Feed) -> WithBranches | None:
    """The network of a run with its branches of self-distillation, newly drawn; None if it has none.

    Raises SettingsError for a module that can have no branch, or one that would get a single sample at the end of an
    epoch, after hours.
    """
    loss = preset.loss
    if not loss.branches:
        return None
    distillation = SelfDistillation(loss.branches_weight, loss.branches_distill, loss.branches_temperature)
    images, _ = next(iter(feed.train.epoch(0)))
    network = with_branches(model, loss.branches, distillation, images, time=feed.has_time)
    ranks, accumulate = feed.train.cut.world_size, preset.train.accumulate
    for total in (feed.train.size(0), feed.train.size(len(feed.train) - 1)):
        smallest = total // ranks // parts_of(total, ranks, accumulate)
        if smallest < 2 and any(branch.needs_two for branch in network.branches):
            raise SettingsError(
                f"a batch of {total} samples has parts of one, too few for the batch norms of loss.branches: use "
                "data.drop_last = true if it is the last, a smaller train.accumulate, or another data.batch_size"
            )
    return network


def build_network(
    preset: Preset,
    *,
    classes: int,
    channels: int,
    code: Path,
    kernel: Kernel,
    device: torch.device,
    notify: Callable[[str], None] = lambda text: None,
) -> nn.Module:
    """The network of a preset with newly drawn weights, on the device; `code` is the folder of the user's own."""
    neuron = preset.neuron.model_dump()
    own_neuron = {f"neuron_{key}": neuron.pop(key) for key in ("name", "args")}
    return create_model(
        preset.model.name,
        num_classes=classes,
        in_channels=channels,
        init=preset.model.init,
        own_code=code,
        args=preset.model.args,
        notify=notify,
        kernel=kernel,
        **own_neuron,
        **neuron,
    ).to(device)


def build_method(preset: Preset, code: Path | None, distill: Distillation | None = None) -> Method:
    """The training method of a run; `code` is the folder of the user's own code, None if it is not here.

    `distill` is the run's teacher. Without it the method has the rest of the run's loss.
    """
    scale = {"loss_scale": preset.method.loss_scale} if preset.method.name in RATE_METHODS else {}
    return create_method(
        preset.method.name,
        preset.method.timesteps,
        precision=preset.train.precision,
        loss=build_loss(preset, code),
        distill=distill,
        **scale,
    )


def build_loss(preset: Preset, code: Path | None) -> Loss | OwnLoss:
    """The loss of a run; without the `code` that it needs, one that raises OwnCodeError if it is called."""
    loss = preset.loss
    if is_own(loss.name):
        return OwnLoss(load_own(loss.name, code) if code is not None else _loss_elsewhere, loss.name)
    return Loss(
        cast(LossName, loss.name),
        label_smoothing=loss.label_smoothing,
        mse_weight=loss.mse_weight,
        mse_target=preset.neuron.threshold,
    )


def _loss_elsewhere(logits: Tensor, labels: Tensor) -> Tensor:
    raise OwnCodeError(
        "the loss of this network is its author's own, and its code is kept in the run: load the folder of the run, or "
        "train with a method of your own (create_method)"
    )


def build_schedule(preset: Preset, steps_per_epoch: int) -> Schedule:
    """The learning rate over a run. Raises SettingsError for a warm-up that outlasts it."""
    optim, steps = preset.optim, steps_per_epoch * preset.train.epochs
    if optim.warmup_steps >= steps:
        raise SettingsError(f"optim.warmup_steps {too_long(optim.warmup_steps, steps)}")
    return Schedule(optim, preset.train.epochs, steps_per_epoch if optim.schedule_by == "step" else 0)


def build_optimizer(preset: Preset, model: nn.Module, branches: WithBranches | None = None) -> torch.optim.Optimizer:
    """The optimizer of a run, for the network and its branches."""
    optimizer = create_optimizer(
        model,
        preset.optim.name,
        lr=preset.optim.lr,
        momentum=preset.optim.momentum,
        weight_decay=preset.optim.weight_decay,
        decay_norms=preset.optim.decay_norms,
        lr_factors=preset.optim.lr_factors,
    )
    if branches is not None:
        add_branches(
            optimizer,
            branches.branches,
            weight_decay=preset.optim.weight_decay,
            decay_norms=preset.optim.decay_norms,
        )
    return optimizer


def is_long(preset: Preset, steps_per_epoch: int) -> bool:
    """Whether the run is long enough for compiling to save time."""
    images = preset.train.epochs * steps_per_epoch * preset.data.batch_size
    return images * preset.method.timesteps >= LONG_RUN


def choose_kernel(preset: Preset, steps_per_epoch: int, device: torch.device) -> tuple[Kernel, list[str]]:
    """The kernel for `train.kernel`, and a warning if it should be compiled but that does not work here."""
    choice, long = preset.train.kernel, is_long(preset, steps_per_epoch)
    if is_own(preset.neuron.name):
        wanted = compiler.wants_compiled(choice, device.type, long=long)
        warning = f"neurons run uncompiled, for {one_line(preset.neuron.name)} is a neuron of your own"
        return "eager", [warning] if wanted else []
    kernel, problem = compiler.choose(choice, device.type, long=long)
    return kernel, [problem] if problem else []
