"""A preset as a whole. Imported only when a preset is read, because pydantic takes long to import."""

from pydantic import field_validator

from rbp_engine.preset.sections.base import (
    FreeText,
    Label,
    Section,
    field,
)
from rbp_engine.preset.sections.data import DataSection
from rbp_engine.preset.sections.guard import GuardSection
from rbp_engine.preset.sections.network import MethodSection, ModelSection, NeuronSection
from rbp_engine.preset.sections.paper import Paper
from rbp_engine.preset.sections.probes import ProbesSection
from rbp_engine.preset.sections.training import LossSection, OptimSection, TrainSection
from rbp_engine.vocabulary import DEVICE


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
