"""The user's own metrics: a function of theirs that looks at the network after a sampled step, and logs numbers."""

import inspect
import numbers
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rbp_engine.errors import OwnCodeError
from rbp_engine.printable import LONGEST_NAME, one_line, visible
from rbp_engine.probes.random_numbers import random_numbers_put_back
from rbp_engine.probes.step_probe import StepProbe
from rbp_engine.run.files.events import Probe, WarningRaised
from rbp_engine.user_code import load_own, place_in_own_code


class RunLog:
    """What the user's function is given as `run`: where training is, and `log`.

    `step` counts optimizer steps and `epoch` epochs, both from 1: the function is called after that step.
    """

    def __init__(self, step: int, epoch: int) -> None:
        self.step = step
        self.epoch = epoch
        self._values: dict[str, float | Tensor] = {}

    def log(self, name: str, value: float | Tensor) -> None:
        """Record a number, or a tensor of one: it stays on its device until the results of steps are fetched.

        A second value of the same name replaces the first. Raises TypeError for anything else.
        """
        if not isinstance(name, str) or not name:
            raise TypeError(f"run.log takes a name and a number, and its name was {name!r}")
        if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
            self._values[name] = value.detach().reshape(()).clone()  # it may be a view of what training changes
        elif isinstance(value, numbers.Real):
            self._values[name] = float(value)
        else:
            shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
            raise TypeError(
                f"run.log({name!r}, …) takes a number or a tensor of one, got {type(value).__name__}{shape}"
            )

    def values(self) -> dict[str, float]:
        """What has been logged, by name; waits for the device of each tensor."""
        return {name: float(value) for name, value in self._values.items()}


def load_metrics(name: str, code: Path) -> Callable[[RunLog, nn.Module], Any]:
    """The function that `name` refers to, from its file in the folder `code`; it may draw random numbers.

    Raises OwnCodeError as `load_own` does, and for a function that cannot be called with a run and a model.
    """
    with random_numbers_put_back():
        function = load_own(name, code)
    signature = inspect.signature(function)
    try:
        signature.bind(None, None)
    except TypeError as error:
        called = f"{name.rpartition(':')[2]}(run, model)"
        raise OwnCodeError(f"{name}{signature} cannot be called as {called}: {error}") from None
    return function


class OwnMetrics(StepProbe):
    """Calls the user's function after every `every`-th step, and records what it logs.

    If it raises an exception there is a warning, once, and it is not called again; training goes on. It runs without
    gradients, and the random numbers that it draws change no others. It must leave the network as it is. With several
    processes only the first calls it, so it must use no collective.
    """

    def __init__(self, name: str, code: Path, model: nn.Module, steps_per_epoch: int, every: int) -> None:
        """`name` is that of the function, in a file of the folder `code`. Raises as `load_metrics` does."""
        super().__init__(every)
        self._function: Callable[[RunLog, nn.Module], Any] | None = load_metrics(name, code)
        self._name = name
        self._code = code
        self._model = model
        self._steps_per_epoch = steps_per_epoch

    @torch.no_grad()
    def measure(self, step: int) -> None:
        if self._function is None:
            return
        log = RunLog(step, (step - 1) // self._steps_per_epoch + 1)
        self.keep(step, lambda: [Probe(one_line(name, LONGEST_NAME), value) for name, value in log.values().items()])
        try:
            with random_numbers_put_back():
                self._function(log, self._model)
        except Exception as error:
            traceback.print_exc()  # into the log of the run
            self._function = None
            message = f"{fault_of(error, self._name, self._code)}; it is not called again, training goes on"
            self.keep(step, lambda: [WarningRaised(visible(message))])


def fault_of(error: Exception, name: str, code: Path) -> str:
    """What went wrong in a function of the user's, with its file and line in the folder `code`."""
    if isinstance(error, OwnCodeError):
        return str(error)
    place = place_in_own_code(error, code)
    where = f" ({place})" if place else ""
    return f"your metrics {name}{where}: {type(error).__name__}: {error}"
