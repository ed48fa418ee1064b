"""Gradient fidelity of a run while it trains: on the same few images, every so many steps (paper, figure 3)."""

from collections.abc import Iterable, Sequence

from torch import nn

from rbp_engine.data.protocol import Batch
from rbp_engine.methods import Method
from rbp_engine.printable import visible
from rbp_engine.probes.gradient_fidelity import REFERENCE, Fidelity, compare, first_samples
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import GradientFidelity, WarningRaised

LARGEST_BATCH = 64
# Of a number in an event: finer than a cosine that a batch of 64 images can tell.
DIGITS = 6


class FidelityProbe(StepProbe):
    """Compares the gradient of the training method with BPTT's, after every `every`-th step.

    An error, such as a GPU without memory left, ends the comparisons with a warning; training goes on.
    """

    def __init__(self, model: nn.Module, method: Method, batch: Batch, every: int) -> None:
        """`model` is the network itself, not one that averages over processes; `batch` as of `probe_batch`."""
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
            message = (
                f"gradients are no longer compared with BPTT's (probes.gradients): {error or type(error).__name__}"
            )
            self.keep(step, lambda: [WarningRaised(visible(message))])
            self._failed = True

    def _event(self, found: Fidelity) -> GradientFidelity:
        return GradientFidelity(
            samples=len(self._labels),
            cosine=_rounded([found.whole.cosine])[0],
            norm_ratio=_rounded([found.whole.norm_ratio])[0],
            cosine_by_weight=_rounded([agreement.cosine for agreement in found.by_weight.values()]),
            norm_ratio_by_weight=_rounded([agreement.norm_ratio for agreement in found.by_weight.values()]),
            neuron_error=_rounded(list(found.neuron_error.values())),
            weight_error=_rounded(list(found.weight_error.values())),
        )


def probe_batch(batches: Iterable[Batch], method: Method, accumulate: int) -> Batch | None:
    """The first images of an evaluation: so few that a comparison takes less memory than a training step.

    A step keeps at least one timestep of a batch (of this process) divided by `accumulate`. Multi-step BPTT keeps T
    timesteps and gets 1/(2·T) of these images; single-step BPTT keeps more of each, and gets half as many. None if
    there are no images.
    """
    first = next(iter(batches), None)
    if first is None:
        return None
    parts = (2 if REFERENCE[method.name] == "bptt" else 4) * method.timesteps * accumulate
    # Batch norm needs two.
    return first_samples(*first, min(LARGEST_BATCH, max(2, len(first[1]) // parts)))


def _rounded(numbers: Sequence[float | None]) -> list[float | None]:
    return [None if number is None else round(number, DIGITS) for number in numbers]
