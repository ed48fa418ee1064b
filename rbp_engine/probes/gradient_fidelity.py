"""How close the gradient of a method is to that of BPTT: on a fixed batch, by weight and in all (paper, figure 3).

Both gradients are those of the network as it stands, on a copy, so that training goes on as if nothing had been
measured. BPTT with the same batch statistics is the reference: the statistics of rate_M are those of all timesteps, as
in multi-step BPTT, and those of the other methods of each timestep, as in single-step BPTT. The step of BPTT also shows
how far the assumption of the rate methods is from the truth (`assumption.py`). A run measures it while it trains, every
so many steps and always on the same images.
"""

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn

from rbp_engine.data.loading.batch_loader import Batch
from rbp_engine.methods import Method, create_method
from rbp_engine.methods.inputs import is_static
from rbp_engine.printable import visible
from rbp_engine.probes.assumption import AssumptionWatch
from rbp_engine.probes.layers import uncompiled, weight_layers
from rbp_engine.probes.random_numbers import own_random_numbers
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import GradientFidelity, WarningRaised
from rbp_engine.vocabulary import RATE_METHODS

REFERENCE = {
    "rate_m": "bptt", "bptt": "bptt", "rate_s": "bptt_s", "bptt_s": "bptt_s", "sltt": "bptt_s", "ottt": "bptt_s",
}  # fmt: skip
# Both losses are multiplied by it: in fp16 small gradients would become 0.
_SCALE = {"fp16": 2.0**10}
# How many numbers are in float64 at a time.
_PART = 2**20


@dataclass(frozen=True)
class GradientAgreement:
    """Two gradients compared: the cosine of their angle, and the norm of the method's divided by that of BPTT's.

    Both are None if one of the gradients is 0 or not finite.
    """

    cosine: float | None
    norm_ratio: float | None


@dataclass(frozen=True)
class Fidelity:
    """The agreement of all gradients together and of each weight layer; the errors of what the rate methods assume.

    It lists all layers, in the order of `neuron_layers` and `weight_layers`. None stands for what cannot be measured: a
    gradient is 0, not finite or missing, or a weight belongs to another module than a convolution or linear layer.
    """

    whole: GradientAgreement
    by_weight: dict[str, GradientAgreement]
    weight_error: dict[str, float | None]
    neuron_error: dict[str, float | None]


def gradient_fidelity(model: nn.Module, method: Method, images: Tensor, labels: Tensor, seed: int = 0) -> Fidelity:
    """Compare the gradient of `method` with BPTT's, on images [B, C, H, W] or [T, B, C, H, W] and labels [B].

    Weight layers are convolutions and linear layers; their biases, and batch norm, count for the whole only. The random
    numbers of dropout are the same for both. The factor 1/T of the rate methods is left out.
    """
    return compare(model, method, images, labels, seed)()


def compare(model: nn.Module, method: Method, images: Tensor, labels: Tensor, seed: int = 0) -> Callable[[], Fidelity]:
    """The same without a wait for the device; the result waits when it is called. No graph or gradient is left."""
    scale = {"loss_scale": "1"} if method.name in RATE_METHODS else {}
    shared = {"precision": method.precision, "loss": method.loss, "distill": method.distill}
    unscaled = create_method(method.name, method.timesteps, **shared, **scale)
    reference = create_method(REFERENCE[method.name], method.timesteps, **shared)
    twin = _twin(model)
    watch = AssumptionWatch(twin, method.timesteps)
    expected = _gradients(twin, reference, images, labels, seed, watch)
    weight_norms, neuron_norms = watch.weight_norms(), watch.neuron_norms()
    del watch
    gradients = expected if reference.name == method.name else _gradients(twin, unscaled, images, labels, seed)
    products = {weight: _products(gradients[weight], expected[weight]) for weight in gradients if weight in expected}
    whole = torch.stack(list(products.values())).sum(0)
    unknown = torch.full_like(whole, math.nan)
    by_weight = {layer: products.get(weight, unknown) for layer, weight in weight_layers(twin).items()}

    def read() -> Fidelity:
        parts = [whole, *by_weight.values(), *weight_norms.values(), *neuron_norms.values()]
        numbers = iter(torch.cat(parts).tolist())  # in one transfer
        return Fidelity(
            _agreement(*islice(numbers, 3)),
            {name: _agreement(*islice(numbers, 3)) for name in by_weight},
            {name: _error(*islice(numbers, 2)) for name in weight_norms},
            {name: _error(*islice(numbers, 2)) for name in neuron_norms},
        )

    return read


def first_samples(images: Tensor, labels: Tensor, number: int) -> tuple[Tensor, Tensor]:
    """A copy of the first samples of images [B, C, H, W] or [T, B, C, H, W] and labels [B]."""
    return (images[:number] if is_static(images) else images[:, :number]).clone(), labels[:number].clone()


def _twin(model: nn.Module) -> nn.Module:
    """A copy in training mode, which shares the weights and nothing else.

    Its neurons are not compiled, since the batch has another size than those of training, and its batch norms wait for
    no other process.
    """
    weights = {id(weight): nn.Parameter(weight.detach(), weight.requires_grad) for weight in model.parameters()}
    twin = copy.deepcopy(model, weights | {id(buffer): buffer.clone() for buffer in model.buffers()})
    return uncompiled(twin).train()


def _gradients(
    twin: nn.Module, method: Method, images: Tensor, labels: Tensor, seed: int, watch: AssumptionWatch | None = None
) -> dict[nn.Parameter, Tensor]:
    twin.zero_grad(set_to_none=True)
    with own_random_numbers(seed), watch.watch() if watch else nullcontext():
        method.step(twin, images, labels, _SCALE.get(method.precision, 1.0))
    return {weight: weight.grad for weight in twin.parameters() if weight.grad is not None}


def _products(left: Tensor, right: Tensor) -> Tensor:
    """The product of two gradients, and their squared norms: float64 [3]."""
    parts = zip(left.flatten().split(_PART), right.flatten().split(_PART), strict=True)
    sums = [torch.stack([a @ b, a @ a, b @ b]) for a, b in ((a.double(), b.double()) for a, b in parts)]
    return torch.stack(sums).sum(0)


def _agreement(product: float, obtained: float, expected: float) -> GradientAgreement:
    if not obtained or not expected or not math.isfinite(obtained + expected):
        return GradientAgreement(None, None)
    return GradientAgreement(product / (obtained**0.5 * expected**0.5), (obtained / expected) ** 0.5)


def _error(difference: float, whole: float) -> float | None:
    return (difference / whole) ** 0.5 if whole and math.isfinite(difference + whole) else None


# Of a number in an event: finer than a cosine that some hundred images can tell.
DIGITS = 6


class FidelityProbe(StepProbe):
    """Compares the gradient of the training method with BPTT's, after every `every`-th step.

    An error, such as a GPU without memory left, ends the comparisons with a warning; training goes on.
    """

    def __init__(self, model: nn.Module, method: Method, batch: Batch, every: int) -> None:
        """`model` is the network itself, not one that averages over processes; `batch` as from `probe_batch`."""
        super().__init__(every)
        self._model = model
        self._method = method
        self._images, self._labels = batch
        self._failed = False

    def measure(self, step: int) -> None:
        if self._failed:
            return
        try:
            read = compare(self._model, self._method, self._images, self._labels)
            self.keep(step, lambda: [self._event(read())])
        except Exception as error:
            why = str(error) or type(error).__name__
            message = f"gradients are no longer compared with BPTT's (probes.gradients): {why}"
            self.keep(step, lambda: [WarningRaised(visible(message))])
            self._failed = True

    def _event(self, fidelity: Fidelity) -> GradientFidelity:
        return GradientFidelity(
            samples=len(self._labels),
            cosine=_rounded([fidelity.whole.cosine])[0],
            norm_ratio=_rounded([fidelity.whole.norm_ratio])[0],
            cosine_by_weight=_rounded([agreement.cosine for agreement in fidelity.by_weight.values()]),
            norm_ratio_by_weight=_rounded([agreement.norm_ratio for agreement in fidelity.by_weight.values()]),
            neuron_error=_rounded(list(fidelity.neuron_error.values())),
            weight_error=_rounded(list(fidelity.weight_error.values())),
        )


def probe_batch(batches: Iterable[Batch], number: int) -> Batch | None:
    """The first `number` images of an evaluation, or all if there are fewer; None if there are none.

    The number is the same for each method and T: with more images BPTT's gradient has less noise, and cosines differ.
    """
    parts: list[Batch] = []
    for batch in batches:
        parts.append(first_samples(*batch, number - sum(len(labels) for _, labels in parts)))
        if sum(len(labels) for _, labels in parts) >= number:
            break
    if not parts:
        return None
    images, labels = zip(*parts, strict=True)
    return torch.cat(images, 0 if is_static(images[0]) else 1), torch.cat(labels)


def _rounded(numbers: Sequence[float | None]) -> list[float | None]:
    return [None if number is None else round(number, DIGITS) for number in numbers]
