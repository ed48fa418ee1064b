"""One optimizer step: micro-batches, gradients over all processes, clipping."""

from contextlib import nullcontext
from dataclasses import replace

import torch
from torch import Tensor, nn

from rbp_engine.methods import Method, StepOutput, WithBranches
from rbp_engine.methods.protocol import gradients_stay_local, is_static
from rbp_engine.train.finite import FiniteGuard
from rbp_engine.train.optimisation import begin_momenta
from rbp_engine.train.ranks.distributed import Ranks


class OptimizerStep:
    """Trains on one global batch, of which this process has a share.

    The share is processed in `accumulate` micro-batches, so that memory holds the graph of only one at a time; batch
    norm sees each micro-batch separately. Whatever the split, the gradient is that of the mean loss over the global
    batch. `time` says whether the first dimension of images is time, None reads it off their number of dimensions.
    `clip_norm` is the largest Euclidean norm of all gradients together, 0 for no limit. If the method computes
    in fp16, `scaler` keeps small gradients from becoming 0; its state belongs in a checkpoint. `branches` is the same
    network with branches, to be trained in its place.
    """

    def __init__(
        self,
        model: nn.Module,
        method: Method,
        optimizer: torch.optim.Optimizer,
        ranks: Ranks,
        *,
        accumulate: int = 1,
        clip_norm: float = 0.0,
        time: bool | None = None,
        branches: WithBranches | None = None,
    ) -> None:
        self.model = model
        self.trained = model if branches is None else branches
        self.method = method
        self.optimizer = optimizer
        self.ranks = ranks
        self.accumulate = accumulate
        self.clip_norm = clip_norm
        self.time = time
        self.scaler = torch.amp.GradScaler(next(model.parameters()).device.type, enabled=method.precision == "fp16")
        if self.scaler.is_enabled():
            begin_momenta(optimizer)
        self.guard = FiniteGuard(self.trained, optimizer)
        self._parallel = ranks.parallel(self.trained)

    def __call__(self, images: Tensor, labels: Tensor, total: int) -> StepOutput:
        """Step on this process's images [B, …] or [T, B, …] and labels [B] of a batch of `total` samples.

        The output is that of this process's share. Its loss is NaN if the gradients, the same on all processes, were
        not finite; this step and all later ones then change nothing. In fp16 such a step is skipped, the scale falls,
        and training continues.
        """
        self.optimizer.zero_grad(set_to_none=True)
        # The same number on every process, even if shares differ by one sample.
        parts = min(self.accumulate, total // self.ranks.size)
        batch_dimension = 0 if is_static(images, self.time) else 1
        micro_batches = list(zip(images.tensor_split(parts, batch_dimension), labels.tensor_split(parts), strict=True))
        outputs = []
        for number, (part, part_labels) in enumerate(micro_batches, start=1):
            # Gradients are averaged over processes, so each sample of this one is weighted by `size`.
            weight = self._scaled(len(part_labels) * self.ranks.size / total, labels.device)
            with gradients_stay_local(self._parallel) if number < parts else nullcontext():
                outputs.append(self.method.step(self._parallel, part, part_labels, weight, time=self.time))
        if self.clip_norm:
            self.scaler.unscale_(self.optimizer)
            torch.nn.utils.clip_grad_norm_(self.trained.parameters(), self.clip_norm)
        output = outputs[0] if parts == 1 else _joined(outputs)
        if not self.scaler.is_enabled():
            return replace(output, loss=self.guard.step(output.loss))
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return output

    def _scaled(self, weight: float, device: torch.device) -> float | Tensor:
        if not self.scaler.is_enabled():
            return weight
        scaled: Tensor = self.scaler.scale(torch.full((), weight, device=device))
        return scaled


def _joined(outputs: list[StepOutput]) -> StepOutput:
    logits = torch.cat([output.logits for output in outputs])
    losses = [output.loss * (len(output.logits) / len(logits)) for output in outputs]
    return StepOutput(torch.stack(losses).sum(), logits)
