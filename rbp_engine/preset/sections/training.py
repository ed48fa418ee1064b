"""`[loss]`, `[optim]` and `[train]`: what is minimised, by which steps, for how long."""

import itertools
from typing import Annotated, Literal, get_args

from pydantic import (
    AfterValidator,
    Field,
    field_validator,
)

from rbp_engine.guard.time_span import parse_checkpoint_every
from rbp_engine.preset.sections.base import (
    MOST_EPOCHS,
    MOST_IMAGES,
    FreeText,
    Section,
    field,
    known,
    once_each,
)
from rbp_engine.vocabulary import (
    LossName,
    ScheduleName,
)


class LossSection(Section):
    """What training minimises."""

    name: Annotated[str, known(get_args(LossName))] = field(
        "ce",
        "result",
        "",
        "Cross entropy (ce) or squared error (mse) of the mean output, or cross entropy at every timestep (tet); your "
        "own as mine.py:f, relative to the preset.",
        get_args(LossName),
    )
    label_smoothing: float = field(
        0.0, "result", "fraction", "Share of a label that all classes have in equal parts.", ge=0, lt=1
    )
    mse_weight: float = field(
        0.0,
        "result",
        "fraction",
        "Share in tet of the squared error between each timestep's outputs and the threshold.",
        ge=0,
        le=1,
    )
    distill: FreeText = field(
        "",
        "result",
        "",
        "Teacher to learn from as well: a run, or the path of a run or of its weights; empty for none.",
    )
    distill_weight: float = field(0.5, "result", "fraction", "Share of the teacher's outputs in the loss.", gt=0, le=1)
    distill_temperature: float = field(
        4.0, "result", "", "Softens the outputs that are compared with the teacher's.", gt=0, le=1000
    )
    branches: Annotated[list[FreeText], AfterValidator(once_each)] = field(
        [],
        "result",
        "",
        "Modules of the network whose firing rates learn the classes too, each by a small network for training alone.",
    )
    branches_weight: float = field(
        1.0,
        "result",
        "",
        "With branches: weight of the loss of each output, the network's and the branches'; 0.7 for ImageNet.",
        gt=0,
        le=1000,
    )
    branches_distill: float = field(
        0.3,
        "result",
        "",
        "Weight of each output's distance to the mean of those outputs that are right.",
        ge=0,
        le=1000,
    )
    branches_temperature: float = field(
        3.0, "result", "", "Softens the outputs that are compared with that mean.", gt=0, le=1000
    )


class OptimSection(Section):
    """The optimizer and its schedule."""

    name: Literal["sgd", "adam", "adamw"] = field("sgd", "result", "", "Optimizer.")
    lr: float = field(0.1, "result", "", "Learning rate at the start, after any warm-up.", gt=0)
    momentum: float = field(0.9, "result", "", "Momentum; used by sgd only.", ge=0, lt=1)
    weight_decay: float = field(5e-4, "result", "", "Weight decay; not on norms and biases.", ge=0)
    decay_norms: bool = field(False, "result", "", "Weight decay on norms and biases too.")
    schedule: ScheduleName = field(
        "cosine",
        "result",
        "",
        "Learning rate: cosine to lr_min, constant, times gamma at milestones, or cosine with restarts.",
    )
    schedule_by: Literal["epoch", "step"] = field(
        "epoch", "result", "", "Change the learning rate between epochs, or between steps."
    )
    warmup_epochs: int = field(
        0, "result", "epochs", "Epochs in which the learning rate rises linearly; 0 is off.", ge=0, le=MOST_EPOCHS
    )
    warmup_steps: int = field(
        0,
        "result",
        "steps",
        'The same in optimizer steps; with schedule_by = "step".',
        ge=0,
        le=MOST_EPOCHS,
    )
    lr_min: float = field(0.0, "result", "", "Learning rate that a cosine falls to.", ge=0)
    milestones: list[Annotated[int, Field(ge=1, le=MOST_EPOCHS)]] = field(
        [], "result", "epochs", "Epochs at which multistep multiplies the learning rate by gamma."
    )
    gamma: float = field(0.1, "result", "", "Factor of the learning rate at each of the milestones.", gt=0, le=1)
    restart_epochs: int = field(0, "result", "epochs", "Length of the first cosine of restarts.", ge=0, le=MOST_EPOCHS)
    restart_mult: int = field(1, "result", "", "Length of each next cosine of restarts by that before.", ge=1, le=100)
    lr_factors: dict[FreeText, Annotated[float, Field(ge=0)]] = field(
        {},
        "result",
        "",
        "Factors of the learning rate by module or parameter, as {fc = 10.0}; the longest path counts.",
    )
    clip_norm: float = field(0.0, "result", "", "Largest norm of all gradients together; 0 is off.", ge=0)

    @field_validator("milestones")
    @classmethod
    def _rising(cls, value: list[int]) -> list[int]:
        if any(later <= earlier for earlier, later in itertools.pairwise(value)):
            raise ValueError("must rise from one to the next")
        return value


class TrainSection(Section):
    """The training loop."""

    epochs: int = field(10, "result", "epochs", "Passes over the training set.", ge=1, le=MOST_EPOCHS)
    precision: Literal["fp32", "bf16", "fp16"] = field(
        "fp32",
        "result",
        "",
        "Number format of convolutions and spikes; membranes, statistics and weights stay in fp32. fp16 is for GPUs.",
    )
    kernel: Literal["auto", "eager", "compiled"] = field(
        "auto",
        "cost",
        "",
        "Loops of the neurons: as torch runs them, or compiled in the first steps; auto compiles for long runs.",
    )
    accumulate: int = field(
        1,
        "result",
        "parts",
        "Parts that a batch is worked on in, to save memory; batch norm sees each part by itself.",
        ge=1,
        le=MOST_IMAGES,
    )
    sync_bn: bool = field(
        False,
        "result",
        "",
        "Take batch norm's statistics, those of firing rates too, over the batches of all processes.",
    )
    ema: float = field(
        0.0,
        "result",
        "",
        "Decay of a moving average of the weights, as 0.999, evaluated beside them; 0 is off.",
        ge=0,
        lt=1,
    )
    log_every: int = field(10, "cost", "steps", "Optimizer steps between two recorded metrics.", ge=1, le=1_000_000)
    checkpoint_every: str = field(
        "1 epoch",
        "cost",
        "",
        'Time between checkpoints, as "1 epoch" or "10 min", at most a million of either; one is also written at a '
        "stop and at the end.",
    )
    validation_split: float = field(
        0.0,
        "result",
        "fraction",
        "Share of the training set held out to choose the best epoch; the test set is then used once, last.",
        ge=0,
        le=0.5,
    )

    @field_validator("checkpoint_every")
    @classmethod
    def _interval(cls, value: str) -> str:
        parse_checkpoint_every(value)
        return value
