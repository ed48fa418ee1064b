"""`[paper]`: the published result that a preset reproduces."""

from typing import Any, Literal

from pydantic import (
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import PydanticCustomError

from rbp_engine.preset.sections.base import (
    MOST_STEPS,
    FreeText,
    Section,
    field,
)


class Figure(Section):
    """One accuracy that a paper prints."""

    method: FreeText = field("rate_m", "place", "", "Training method of this figure.")
    timesteps: int = field(4, "place", "steps", "Number of timesteps of this figure.", ge=1, le=MOST_STEPS)
    top1: float | Literal["not known"] = field(
        "not known", "place", "fraction", 'Top-1 accuracy as a fraction in [0, 1], or "not known".'
    )
    std: float = field(0.0, "place", "fraction", "Its sample standard deviation over runs; 0: not known.", ge=0, le=1)
    runs: int = field(0, "place", "", "The number of runs that it is the mean of; 0: not known.", ge=0, le=MOST_STEPS)

    @field_validator("top1", mode="wrap")
    @classmethod
    def _fraction(cls, value: Any, handler: ValidatorFunctionWrapHandler) -> Any:
        # A plain union would report each alternative as a separate problem.
        try:
            checked = handler(value)
        except ValidationError:
            checked = None
        if checked is None or (isinstance(checked, float) and not 0 <= checked <= 1):
            raise PydanticCustomError("figure", 'expected a fraction in [0, 1] or "not known"')
        return checked


class Paper(Section):
    """The published result that a preset reproduces."""

    cell: FreeText = field("", "place", "", "Which cell of the paper this is, as 'CIFAR-10, ResNet-18'.")
    source: FreeText = field("", "place", "", "Where the figures come from.")
    note: FreeText = field("", "place", "", "What a reader must know before comparing.")
    figures: list[Figure] = field([], "place", "", "Published accuracies by method and timesteps.")
