"""One optimizer step: micro-batches, gradients over all processes, clipping."""

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor

from rbp_engine.data.loading.shares import parts_of
from rbp_engine.methods import StepOutput
from rbp_engine.methods.inputs import is_static
from rbp_engine.methods.protocol import gradients_stay_local
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.finite import FiniteGuard
from rbp_engine.train.ranks.distributed import Ranks


class OptimizerStep:
    """Trains on one global batch, of which this process has a share.

    The share is processed in `accumulate` micro-batches, so that memory holds the graph of only one at a time; batch
    norm sees each micro-batch separately. Whatever the split, the gradient is that of the mean loss over the global
    batch. `time` says whether the first dimension of images is time, None reads it off their number of dimensions.
    `clip_norm` is the largest Euclidean norm of all gradients together, 0 for no limit.
    """

    def __init__(
        self,
        state: State,
        ranks: Ranks,
        *,
        accumulate: int = 1,
        clip_norm: float = 0.0,
        time: bool | None = None,
    ) -> None:
        self.state = state
        self.ranks = ranks
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.time = time
        self.guard = FiniteGuard(state.trained, state.optimizer)
        self._parallel = ranks.parallel(state.trained)

    def __call__(self, images: Tensor, labels: Tensor, total: int) -> StepOutput:
        """Step on this process's images [B, …] or [T, B, …] and labels [B] of a batch of `total` samples.

        The output is that of this process's share. Its loss is NaN if the gradients, the same on all processes, were
        not finite; this step and all later ones then change nothing. In fp16 such a step is skipped, the scale falls,
        and training continues.
        """
        state = self.state
        state.optimizer.zero_grad(set_to_none=True)
        # The same number on every process, even if shares differ by one sample.
        parts = parts_of(total, self.ranks.size, self.accumulate)
        batch_dimension = 0 if is_static(images, self.time) else 1
        micro_batches = list(zip(images.tensor_split(parts, batch_dimension), labels.tensor_split(parts), strict=True))
        outputs = []
        for number, (part, part_labels) in enumerate(micro_batches, start=1):
            # Gradients are averaged over processes, so each sample of this one is weighted by `size`.
            weight = self._scaled(len(part_labels) * self.ranks.size / total, labels.device)
            with gradients_stay_local(self._parallel) if number < parts else nullcontext():
                outputs.append(state.method.step(self._parallel, part, part_labels, weight, time=self.time))
        if self.clip_norm:
            state.scaler.unscale_(state.optimizer)
            torch.nn.utils.clip_grad_norm_(state.trained.parameters(), self.clip_norm)
        output = outputs[0] if parts == 1 else _joined(outputs)
        if not state.scaler.is_enabled():
            return replace(output, loss=self.guard.step(output.loss))
        state.scaler.step(state.optimizer)
        state.scaler.update()
        return output

    def _scaled(self, weight: float, device: torch.device) -> float | Tensor:
        if not self.state.scaler.is_enabled():
            return weight
        scaled: Tensor = self.state.scaler.scale(torch.full((), weight, device=device))
        return scaled


def _joined(outputs: list[StepOutput]) -> StepOutput:
    logits = torch.cat([output.logits for output in outputs])
    losses = [output.loss * (len(output.logits) / len(logits)) for output in outputs]
    return StepOutput(torch.stack(losses).sum(), logits)
