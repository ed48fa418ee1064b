"""Which alert rules a run's events have met: each is reported once in an attempt."""

from collections.abc import Iterator, Sequence

from rbp_engine.guard.alert_rule import MEMORY, AlertRule
from rbp_engine.printable import one_line, visible
from rbp_engine.run.files.events import LAST, AlertRaised, Body, Metrics, System, Validation

_PREFIXES: dict[type[Body], str] = {Metrics: "train.", Validation: "val.", System: ""}


class AlertWatch:
    """Checks the events that a process writes.

    `capacity` is the available memory in bytes, `split` the data that epochs are evaluated on.
    """

    def __init__(self, rules: Sequence[AlertRule], capacity: int, split: str) -> None:
        self._waiting = list(rules)
        self._capacity = capacity
        self._evaluations = (LAST, split)

    def see(self, body: Body, epoch: int, step: int) -> Iterator[AlertRaised]:
        """The alerts that an event raises, after so many complete epochs and steps."""
        prefix = _PREFIXES.get(type(body))
        if prefix is None or (isinstance(body, Validation) and (body.weights, body.split) != self._evaluations):
            return
        epoch = getattr(body, "epoch", epoch)
        for rule in list(self._waiting):
            value = self._value(rule, body, prefix)
            if value is not None and rule.holds(value, epoch, step):
                self._waiting.remove(rule)
                message = f"{rule.text}: it is {rule.shown(value)} after epoch {epoch}, step {step}"
                yield AlertRaised(one_line(rule.text), value, visible(message))

    def _value(self, rule: AlertRule, body: Body, prefix: str) -> float | None:
        if isinstance(body, System) and rule.name == MEMORY:
            peak = body.mem_peak if body.mem_peak is not None else body.used
            return peak / self._capacity if rule.of_capacity and peak is not None else peak
        if not rule.name.startswith(prefix) or (not prefix and "." in rule.name):
            return None
        value = getattr(body, rule.name.removeprefix(prefix), None)
        return float(value) if isinstance(value, (int, float)) else None
