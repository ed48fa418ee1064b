"""Rate-based backpropagation: T timesteps forward without a graph, one backward pass over firing rates."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils import parametrize
from torch.nn.utils.spectral_norm import SpectralNorm

from rbp_engine.methods.inputs import Input
from rbp_engine.methods.loss import CROSS_ENTROPY, Distillation, LossFunction, Objective, StepLoss, with_objective
from rbp_engine.methods.protocol import Method, Precision, StepOutput, backward
from rbp_engine.spiking import RateTensor
from rbp_engine.spiking.carriers.rate_s import RateSTensor
from rbp_engine.spiking.carriers.single_step import StepState
from rbp_engine.spiking.dtypes import full
from rbp_engine.spiking.reference import RateReference
from rbp_engine.spiking.steps import WithValue

LossScale = Literal["1/T", "1"]


class RateMethod(Method):
    """A rate method. Its backward passes through a layer of neurons by `FiringRate` (`spiking/firing.py`).

    `loss_scale` "1/T" divides the gradient by T, as the paper's objective does (Theorem 1: ∇_rate = ∇_BPTT / T), so
    that its learning rates keep their meaning; "1" gives the size of BPTT's gradient. With `reference` a step is the
    plain definition, `spiking/reference.py`.

    Raises ValueError for a loss at every step, as "tet": the backward pass has the mean output only.
    """

    def __init__(
        self,
        timesteps: int,
        loss_scale: LossScale = "1/T",
        precision: Precision = "fp32",
        loss: StepLoss | LossFunction = CROSS_ENTROPY,
        distill: Distillation | None = None,
        reference: bool = False,
    ) -> None:
        super().__init__(timesteps, precision, loss, distill)
        self.reference = reference
        if self.loss.at_every_step:
            raise ValueError(
                f"the loss {self.loss.name!r} is a mean over timesteps of a loss of each, and the backward pass of "
                f"{self.name} has the mean output only: use the loss 'ce' or 'mse', or a method that propagates "
                "every timestep back (bptt, bptt_s, sltt, ottt)"
            )
        if loss_scale not in ("1/T", "1"):
            raise ValueError(f"loss_scale is '1/T' or '1', got {loss_scale!r}")
        self.scale = 1.0 / timesteps if loss_scale == "1/T" else 1.0

    def _reference_step(
        self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor, *, norms_by_step: bool
    ) -> StepOutput:
        images = RateReference(shown.steps(), shown.mean(), norms_by_step)
        output, objective = with_objective(model(images), RateReference, objective)
        return backward(objective, output.rate(), self.scale * weight)


class RateM(RateMethod):
    """rate_M: the loop over time is inside each layer, batch norm sees all T·B samples (paper, section 4.2)."""

    name = "rate_m"

    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        if self.reference:
            return self._reference_step(model, shown, objective, weight, norms_by_step=False)
        mean = shown.mean() if shown.images.requires_grad else None
        images = RateTensor(replace(shown, images=shown.images.detach()).current(mean))
        output, objective = with_objective(model(images), RateTensor, objective)
        return backward(objective, output.rate(), self.scale * weight)


class RateS(RateMethod):
    """rate_S: the loop over time is outside the network, batch norm sees each step's own B samples.

    First phase: T steps without a graph, whose operations add to their time means. Second phase: one pass over the mean
    of the T inputs. Of the values of the timesteps none is kept, only statistics of batch norms.
    """

    name = "rate_s"

    def check(self, model: nn.Module) -> None:
        super().check(model)
        check_spectral_norm(model)
        if self.reference:
            check_momentum(model)

    def _step(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        with parametrize.cached():
            compute_parametrised_weights(model)
            if not self.reference:
                return self._two_phases(model, shown, objective, weight)
            with batches_counted(model, self.timesteps):
                return self._reference_step(model, shown, objective, weight, norms_by_step=True)

    def _two_phases(self, model: nn.Module, shown: Input, objective: Objective, weight: float | Tensor) -> StepOutput:
        state = StepState(self.timesteps)
        total = torch.zeros(())
        with torch.no_grad():
            for images_t in shown.by_step():
                state.next_pass()
                output = model(RateSTensor.of_step(images_t, state, static=shown.static))
                total = total + full(with_objective(output, RateSTensor, objective)[0].values())
        state.next_pass()
        with batches_counted(model, 0):
            output = model(RateSTensor.of_means(shown.mean(), state, static=shown.static))
        mean, objective = with_objective(output, RateSTensor, objective)
        rate = mean.rate()
        state.check_complete()
        logits = WithValue.apply(full(rate), total / self.timesteps)
        return backward(objective, logits, self.scale * weight)


def check_momentum(model: nn.Module) -> None:
    """Raise ValueError for a batch norm whose momentum depends on the number of batches: here T are one pass."""
    for name, module in model.named_modules():
        if isinstance(module, _BatchNorm) and module.training and module.momentum is None:
            raise ValueError(f"{name}: the reference of rate_s needs a batch norm with a momentum")


def check_spectral_norm(model: nn.Module) -> None:
    """Raise ValueError for `torch.nn.utils.spectral_norm` in training: each of T + 1 passes would change the weight."""
    for name, module in model.named_modules():
        if module.training and any(isinstance(hook, SpectralNorm) for hook in module._forward_pre_hooks.values()):
            raise ValueError(
                f"{name}: torch.nn.utils.spectral_norm changes the weight at each pass, and rate_s makes T + 1 of "
                "them; use torch.nn.utils.parametrizations.spectral_norm, which changes it once a step"
            )


def compute_parametrised_weights(model: nn.Module) -> None:
    """Compute, with their graph, the weights that `parametrize.cached` then keeps for all passes of a step."""
    for module in model.modules():
        if "parametrizations" in module._modules:
            for name in module.parametrizations:  # type: ignore[union-attr]
                getattr(module, name)


@contextmanager
def batches_counted(model: nn.Module, times: int) -> Iterator[None]:
    """Within it a batch norm counts each batch `times` times: T in a pass of the reference, 0 in rate_S's last pass."""
    counters = [buffer for name, buffer in model.named_buffers() if name.endswith("num_batches_tracked")]
    before = torch._foreach_add(counters, 0) if counters else ()
    try:
        yield
    finally:
        if counters:  # few launches
            torch._foreach_sub_(counters, before)
            torch._foreach_mul_(counters, times)
            torch._foreach_add_(counters, before)
