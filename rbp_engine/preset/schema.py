"""The sections of a run and its preset as a whole. Imported only when a preset is read, because pydantic takes long to
import.
"""

from typing import Annotated

from pydantic import AfterValidator, field_validator

from rbp_engine.guard.alert_rule import parse_alert
from rbp_engine.guard.time_span import parse_time_span
from rbp_engine.preset.sections.base import MOST_EPOCHS, FreeText, Label, Section, field, own_function
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.preset.sections.network import MethodSection, ModelSection, NeuronSection
from rbp_engine.preset.sections.paper import Paper
from rbp_engine.preset.sections.training import LossSection, OptimSection, TrainSection
from rbp_engine.vocabulary import DEVICE


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
        [], "cost", "", 'Tell of numbers, as "val.top1 < 0.2 after epoch 10", once in an attempt.', max_length=100
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
        "Optimizer steps between two comparisons of the gradient with BPTT's; 0 is off.",
        ge=0,
        le=1_000_000,
    )
    gradients_images: int = field(
        64,
        "cost",
        "images",
        "The first images of the validation set (rbp eval: of the test set) on which gradients are compared.",
        ge=2,
        le=4096,
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


class RunSection(Section):
    """One run of the experiment."""

    seed: int = field(
        1, "result", "", "Seed of all random numbers; runs that differ only here repeat.", ge=0, le=2**63 - 1
    )
    device: str = field("auto", "place", "", "Where to compute: auto, cpu, cuda or cuda:<number>.")
    name: Label = field("", "place", "", "Name of the run, to find it by.")
    tags: list[Label] = field([], "place", "", "Words to find the run by.")

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        if DEVICE.fullmatch(value) is None:
            raise ValueError("expected auto, cpu, cuda or cuda:<number>")
        return value


class Preset(Section):
    """All choices of one training run, each valid by itself."""

    title: FreeText = field("", "place", "", "Title of the preset, a few words.")
    description: FreeText = field("", "place", "", "What the preset is for, and where it departs from its source.")
    paper: Paper | None = field(None, "place", "", "The published result that the preset reproduces.")
    data: DataSection = DataSection()
    model: ModelSection = ModelSection()
    neuron: NeuronSection = NeuronSection()
    method: MethodSection = MethodSection()
    loss: LossSection = LossSection()
    optim: OptimSection = OptimSection()
    train: TrainSection = TrainSection()
    probes: ProbesSection = ProbesSection()
    guard: GuardSection = GuardSection()
    run: RunSection = RunSection()

    def more_parts(self, processes: int) -> int:
        """Twice as many parts of each batch, for less memory; 0 if the processes' shares have fewer images."""
        parts = 2 * self.train.accumulate
        return parts if parts <= self.data.batch_size // processes else 0
