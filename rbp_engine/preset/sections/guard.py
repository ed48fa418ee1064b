"""`[guard]`: what ends a run before its last epoch, and what it tells of."""

from typing import Annotated

from pydantic import (
    AfterValidator,
    field_validator,
)
from pydantic_core import PydanticCustomError

from rbp_engine.guard.alert_rule import parse_alert
from rbp_engine.guard.time_span import parse_time_span
from rbp_engine.preset.sections.base import (
    MOST_EPOCHS,
    Section,
    field,
)


def _time_span(value: str) -> str:
    if value and not parse_time_span(value):
        raise ValueError("expected a span of time above 0")
    return value


def _alert(value: str) -> str:
    parse_alert(value)
    return value


class GuardSection(Section):
    """What ends the run before its last epoch, and what it tells of."""

    early_stop: int = field(
        0,
        "result",
        "epochs",
        "Complete the run once so many epochs in a row have not improved its top-1; 0 is off.",
        ge=0,
        le=MOST_EPOCHS,
    )
    early_stop_delta: float = field(
        0.0, "result", "fraction", "Smallest gain of top-1 that counts as an improvement.", ge=0, lt=1
    )
    max_time: Annotated[str, AfterValidator(_time_span)] = field(
        "", "cost", "", 'Stop once all attempts together have worked so long, as "4h" or "30 min"; "" is no limit.',
    )  # fmt: skip
    max_steps: int = field(0, "cost", "steps", "Stop after so many optimizer steps; 0 is no limit.", ge=0, le=10**12)
    alerts: list[Annotated[str, AfterValidator(_alert)]] = field(
        [], "cost", "", 'Tell of numbers, as "val.top1 < 0.2 after epoch 10", once in an attempt.'
    )

    @field_validator("alerts")
    @classmethod
    def _few(cls, value: list[str]) -> list[str]:
        if len(value) > 100:
            raise PydanticCustomError("argument", "at most 100 rules")
        return value
