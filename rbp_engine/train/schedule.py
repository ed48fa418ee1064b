"""The learning rate over a run."""

import math
from bisect import bisect_right
from dataclasses import dataclass

from rbp_engine.preset.sections.training import OptimSection


@dataclass(frozen=True)
class Schedule:
    """The learning rate at an epoch or a step, as a preset's `[optim]` says; a function of it alone, without a state.

        cosine       falls from `lr` to `lr_min` over what follows the warm-up
        constant     stays at `lr`
        multistep    is multiplied by `gamma` at each of `milestones`, in epochs from the start
        restarts     cosine from `lr` to `lr_min` again and again (SGDR, Loshchilov and Hutter, ICLR 2017): the first
                     takes `restart_epochs` after the warm-up, and each next one `restart_mult` times the one before

    It changes from epoch to epoch if `steps_per_epoch` is 0, else from step to step. In the warm-up, `warmup_epochs` or
    by step `warmup_steps`, it rises linearly from above 0.
    """

    optim: OptimSection
    epochs: int
    steps_per_epoch: int = 0

    def __call__(self, epoch: int, step: int) -> float:
        """The rate of an epoch and a step of the whole run, both counted from 0."""
        optim, unit = self.optim, self.steps_per_epoch or 1
        now = step if self.steps_per_epoch else epoch
        warmup = optim.warmup_epochs * unit + optim.warmup_steps
        if now < warmup:
            return optim.lr * (now + 1) / (warmup + 1)
        if optim.schedule == "constant":
            return optim.lr
        if optim.schedule == "multistep":
            passed = bisect_right(optim.milestones, now // unit)
            return optim.lr * optim.gamma**passed
        if optim.schedule == "cosine":
            return self._cosine(now - warmup, self.epochs * unit - warmup)
        return self._cosine(*self._since_restart(now - warmup, optim.restart_epochs * unit))

    def _cosine(self, now: int, length: int) -> float:
        optim = self.optim
        return optim.lr_min + (optim.lr - optim.lr_min) * 0.5 * (1.0 + math.cos(math.pi * now / length))

    def _since_restart(self, now: int, length: int) -> tuple[int, int]:
        """How far the current cosine is, and how long it is."""
        mult = self.optim.restart_mult
        if mult == 1:
            return now % length, length
        while now >= length:
            now, length = now - length, length * mult
        return now, length
