"""The learning rate over a run."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from rbp_engine.vocabulary import ScheduleName


@dataclass(frozen=True)
class Schedule:
    """The learning rate at an epoch or a step; a function of it alone, so that there is no state to save.

        cosine       falls from `lr` to `lr_min` over what follows the warm-up
        constant     stays at `lr`
        multistep    is multiplied by `gamma` at each of `milestones`, in epochs from the start
        restarts     cosine from `lr` to `lr_min` again and again (SGDR, Loshchilov and Hutter, ICLR 2017): the first
                     takes `restart_epochs` after the warm-up, and each next one `restart_mult` times the one before

    It changes from epoch to epoch if `steps_per_epoch` is 0, else from step to step. In the warm-up, `warmup_epochs` or
    by step `warmup_steps`, it rises linearly from above 0.
    """

    lr: float
    epochs: int
    name: ScheduleName
    steps_per_epoch: int = 0
    warmup_epochs: int = 0
    warmup_steps: int = 0
    lr_min: float = 0.0
    milestones: Sequence[int] = ()
    gamma: float = 0.1
    restart_epochs: int = 0
    restart_mult: int = 1

    def __call__(self, epoch: int, step: int) -> float:
        """The rate of an epoch and a step of the whole run, both counted from 0."""
        unit = self.steps_per_epoch or 1
        now = step if self.steps_per_epoch else epoch
        warmup = self.warmup_epochs * unit + self.warmup_steps
        if now < warmup:
            return self.lr * (now + 1) / (warmup + 1)
        if self.name == "constant":
            return self.lr
        if self.name == "multistep":
            passed = bisect_right(self.milestones, now // unit)
            return self.lr * self.gamma**passed
        if self.name == "cosine":
            return self._cosine(now - warmup, self.epochs * unit - warmup)
        if self.name == "restarts":
            return self._cosine(*self._since_restart(now - warmup, self.restart_epochs * unit))
        raise ValueError(f"unknown schedule {self.name!r}: one of cosine, constant, multistep, restarts")

    def _cosine(self, now: int, length: int) -> float:
        return self.lr_min + (self.lr - self.lr_min) * 0.5 * (1.0 + math.cos(math.pi * now / length))

    def _since_restart(self, now: int, length: int) -> tuple[int, int]:
        """How far the current cosine is, and how long it is."""
        if self.restart_mult == 1:
            return now % length, length
        while now >= length:
            now, length = now - length, length * self.restart_mult
        return now, length
