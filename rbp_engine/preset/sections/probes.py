"""`[probes]`: what is measured while a network trains."""

from typing import Annotated

from pydantic import (
    AfterValidator,
)

from rbp_engine.preset.sections.base import (
    Section,
    field,
    own_function,
)


class ProbesSection(Section):
    """What is measured of the network while it trains. It changes nothing of what the network learns."""

    firing_rates: bool = field(
        True, "cost", "", "Firing rates by layer and timestep, once in every train.log_every steps."
    )
    health: bool = field(
        False,
        "cost",
        "",
        "Membranes near the threshold, eligibilities, gradients and updates by layer, as often as firing rates.",
    )
    gradients: int = field(
        0,
        "cost",
        "steps",
        "Optimizer steps between two comparisons of the gradient with BPTT's, on a few images; 0 is off.",
        ge=0,
        le=1_000_000,
    )
    energy: bool = field(
        False,
        "cost",
        "",
        "Synaptic operations and energy for one image, once at the end; rbp eval RUN energy does it later.",
    )
    own: Annotated[str, AfterValidator(own_function)] = field(
        "",
        "cost",
        "",
        "Your own metrics: a function measure(run, model) as mine.py:measure, relative to the preset, as often as "
        "firing rates.",
    )
