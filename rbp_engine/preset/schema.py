"""The schema of presets. Imported only when a preset is read, because pydantic takes long to import.

Every field has a default, a unit, a description, and a role: "result" changes what is learned, "cost" only time or
memory, "place" only where the run is or what it is called. Every number that sizes something has a maximum, far above
what anybody trains with, since a preset may be somebody else's. The names of networks, methods, data sets and
surrogates are in `rbp_engine/vocabulary.py`, so that an unknown one is refused without importing torch.
"""

import itertools
import re
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    Field,
    ValidationError,
    ValidatorFunctionWrapHandler,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rbp_engine.guard.alert_rule import parse_alert
from rbp_engine.guard.time_span import parse_time_span
from rbp_engine.preset.contradictions import contradictions
from rbp_engine.preset.intervals import parse_checkpoint_every
from rbp_engine.preset.section import (
    MOST_EPOCHS,
    MOST_IMAGES,
    MOST_PIXELS,
    MOST_STEPS,
    MOST_WORKERS,
    Arguments,
    FreeText,
    Label,
    Section,
    field,
    known,
    known_or_own,
    own_function,
)
from rbp_engine.settings.lines import dotted
from rbp_engine.vocabulary import (
    DATA_SETS,
    LIBRARY_NETWORK,
    NETWORKS,
    NEURONS,
    SURROGATE_ARGUMENTS,
    TRAINING_METHODS,
    FramesBy,
    LearntName,
    LossName,
    Orientation,
    Resize,
    ScheduleName,
    SplitName,
)


def _time_span(value: str) -> str:
    if value:
        parse_time_span(value)
    return value


def _alert(value: str) -> str:
    parse_alert(value)
    return value


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


class DataSection(Section):
    """The data set and what is done to its images."""

    name: Annotated[str, known_or_own(DATA_SETS)] = field(
        "digits",
        "result",
        "",
        "Data set to train and test on; your own as sets.py:function, relative to the preset.",
        DATA_SETS,
    )
    args: Arguments = field({}, "result", "", "Keyword arguments of a data set of your own, or of fake.")
    batch_size: int = field(
        64, "result", "images", "Images per optimizer step, over all processes.", ge=1, le=MOST_IMAGES
    )
    crop_padding: int = field(
        0,
        "result",
        "pixels",
        "Zero padding on each side before a random crop to the first size; 0 is off.",
        ge=0,
        le=MOST_PIXELS,
    )
    flip: bool = field(False, "result", "", "Mirror training images left to right with probability 0.5.")
    auto_augment: bool = field(False, "result", "", "AutoAugment of training images, CIFAR-10 policy; for 3 channels.")
    augment_backend: Literal["batched", "pil"] = field(
        "batched",
        "result",
        "",
        "Augment whole batches on the device, or one PIL image at a time as the paper's pipeline does.",
    )
    cutout: int = field(
        0, "result", "pixels", "Side of one square erased in training images; 0 is off.", ge=0, le=MOST_PIXELS
    )
    mixup: float = field(
        0.0,
        "result",
        "",
        "Mix pairs of training images and their labels, in parts drawn from Beta(mixup, mixup); 0 is off.",
        later=True,
        ge=0,
        le=100,
    )
    cutmix: float = field(
        0.0,
        "result",
        "",
        "Put a box of another training image into each, of a share drawn from Beta(cutmix, cutmix); 0 is off.",
        later=True,
        ge=0,
        le=100,
    )
    size: int = field(
        0,
        "result",
        "pixels",
        "Side of the images of imagenet (0: 224), cifar10_dvs (0: 48) and fake (0: 32); other sets have their own.",
        ge=0,
        le=MOST_PIXELS,
    )
    roll: int = field(
        0,
        "result",
        "pixels",
        "Largest random shift of event frames, coming in on the other side.",
        ge=0,
        le=MOST_PIXELS,
    )
    frames_by: FramesBy = field(
        "number", "result", "", "Cut a recording into T frames of equal event number, or of equal time."
    )
    split: SplitName = field(
        "last100",
        "result",
        "",
        "Test recordings of cifar10_dvs: the last or first 100 of each class, or a random tenth.",
    )
    resize: Resize = field(
        "exact",
        "result",
        "",
        "How event frames are resized; legacy_pil repeats the published code's loss of a polarity.",
    )
    orientation: Orientation = field(
        "canonical", "result", "", "Turn event frames of every layout alike, or leave them as stored."
    )
    workers: int | Literal["auto"] = field(
        0,
        "cost",
        "processes",
        "Processes that read images, for each rank, at most 256; 0 reads in the worker, and auto leaves it one of its "
        "cores and takes the others, up to 8.",
    )
    drop_last: bool = field(False, "result", "", "Leave out the last, smaller batch of an epoch.")

    @field_validator("workers", mode="plain")
    @classmethod
    def _workers(cls, value: Any) -> Any:
        # A plain union would report each alternative as a separate problem.
        if value != "auto" and (type(value) is not int or not 0 <= value <= MOST_WORKERS):
            raise PydanticCustomError("workers", f'expected a whole number from 0 to {MOST_WORKERS}, or "auto"')
        return value


class ModelSection(Section):
    """The network."""

    name: Annotated[str, known_or_own(NETWORKS, LIBRARY_NETWORK)] = field(
        "convnet",
        "result",
        "",
        "Network to train; your own as nets.py:MyNet, relative to the preset, or a library's as torchvision:resnet50.",
        NETWORKS,
    )
    args: Arguments = field({}, "result", "", "Keyword arguments of a network of your own, or of a library's.")
    init: Literal["kaiming", "paper"] = field("kaiming", "result", "", "How the weights are drawn at the start.")
    pretrained: FreeText = field(
        "",
        "place",
        "",
        "File of weights to start from, of safetensors or torch.save, or folder of a run; relative to the preset.",
    )
    pretrained_sha256: str = field(
        "", "result", "", "Hash of that file, found where it is not given.", later=True, pattern="^([0-9a-f]{64})?$"
    )


class NeuronSection(Section):
    """The neuron: leaky integrate-and-fire, or a user's own."""

    name: Annotated[str, known_or_own(NEURONS)] = field(
        "lif",
        "result",
        "",
        "Neuron of every layer; your own as mine.py:MyNeuron, relative to the preset.",
        NEURONS,
        later=True,
    )
    args: Arguments = field({}, "result", "", "Keyword arguments of a neuron of your own.", later=True)
    decay: float = field(0.2, "result", "", "Share of the membrane that a timestep keeps (lambda).", ge=0, le=1)
    threshold: float = field(1.0, "result", "", "Membrane at which a neuron fires.", gt=0)
    reset: Literal["soft", "hard"] = field(
        "soft",
        "result",
        "",
        "After a spike, subtract the threshold (soft) or set the membrane to v_reset (hard).",
    )
    v_reset: float = field(0.0, "result", "", "Membrane after a spike with a hard reset.")
    detach_reset: bool = field(True, "result", "", "Keep the reset out of the gradient.")
    surrogate: Annotated[str, known_or_own(SURROGATE_ARGUMENTS)] = field(
        "sigmoid",
        "result",
        "",
        "Surrogate gradient of the spike; your own as mine.py:slope, relative to the preset.",
        SURROGATE_ARGUMENTS,
    )
    surrogate_args: dict[str, float] = field(
        {},
        "result",
        "",
        "Parameters of the surrogate, as {alpha = 4.0}; those left out keep their defaults.",
    )
    learn: list[LearntName] = field(
        [],
        "result",
        "",
        "Which of decay and threshold each neuron layer learns, from the values above.",
        later=True,
    )
    learn_by: Literal["layer", "channel"] = field(
        "layer", "result", "", "Learn one value for a layer, or for each of its channels.", later=True
    )

    @field_validator("learn")
    @classmethod
    def _once_each(cls, value: list[str]) -> list[str]:
        if len({*value}) < len(value):
            raise PydanticCustomError("argument", "names something twice")
        return sorted(value)


class MethodSection(Section):
    """How gradients are computed."""

    name: Annotated[str, known(TRAINING_METHODS)] = field("rate_m", "result", "", "Training method.", TRAINING_METHODS)
    timesteps: int = field(4, "result", "steps", "Number of timesteps T that each image is shown.", ge=1, le=MOST_STEPS)
    loss_scale: Literal["1/T", "1"] = field(
        "1/T", "result", "", "Factor of the loss gradient at the mean output; rate methods only."
    )


class LossSection(Section):
    """What training minimises."""

    name: Annotated[str, known_or_own(get_args(LossName))] = field(
        "ce",
        "result",
        "",
        "Cross entropy (ce) or squared error (mse) of the mean output, or cross entropy at every timestep (tet); your "
        "own as mine.py:f, relative to the preset.",
        get_args(LossName),
        later=True,
    )
    label_smoothing: float = field(
        0.0, "result", "fraction", "Share of a label that all classes have in equal parts.", later=True, ge=0, lt=1
    )
    mse_weight: float = field(
        0.0,
        "result",
        "fraction",
        "Share in tet of the squared error between each timestep's outputs and the threshold.",
        later=True,
        ge=0,
        le=1,
    )
    distill: FreeText = field(
        "",
        "result",
        "",
        "Teacher to learn from as well: a run, or the path of a run or of its weights; empty for none.",
        later=True,
    )
    distill_weight: float = field(
        0.5, "result", "fraction", "Share of the teacher's outputs in the loss.", later=True, gt=0, le=1
    )
    distill_temperature: float = field(
        4.0, "result", "", "Softens the outputs that are compared with the teacher's.", later=True, gt=0, le=1000
    )
    heads: list[FreeText] = field(
        [],
        "result",
        "",
        "Modules of the network whose firing rates learn the classes, each by a linear layer for training alone.",
        later=True,
    )
    heads_weight: float = field(
        0.3, "result", "", "Weight of each such head's cross entropy in the loss.", later=True, ge=0, le=1000
    )
    heads_distill: float = field(
        0.1,
        "result",
        "",
        "Weight of each head's distance to the network's own outputs, where these are right.",
        later=True,
        ge=0,
        le=1000,
    )
    heads_temperature: float = field(
        4.0, "result", "", "Softens the outputs that are compared with the heads'.", later=True, gt=0, le=1000
    )

    @field_validator("heads")
    @classmethod
    def _one_head_each(cls, value: list[str]) -> list[str]:
        if len({*value}) < len(value):
            raise ValueError("names something twice")
        return value


class OptimSection(Section):
    """The optimizer and its schedule."""

    name: Literal["sgd", "adam", "adamw"] = field("sgd", "result", "", "Optimizer.")
    lr: float = field(0.1, "result", "", "Learning rate at the start, after any warm-up.", gt=0)
    momentum: float = field(0.9, "result", "", "Momentum; used by sgd only.", ge=0, lt=1)
    weight_decay: float = field(5e-4, "result", "", "Weight decay; not on norms and biases.", ge=0)
    decay_norms: bool = field(False, "result", "", "Weight decay on norms and biases too.", later=True)
    schedule: ScheduleName = field(
        "cosine",
        "result",
        "",
        "Learning rate: cosine to lr_min, constant, times gamma at milestones, or cosine with restarts.",
    )
    schedule_by: Literal["epoch", "step"] = field(
        "epoch", "result", "", "Change the learning rate between epochs, or between steps.", later=True
    )
    warmup_epochs: int = field(
        0, "result", "epochs", "Epochs in which the learning rate rises linearly; 0 is off.", ge=0, le=MOST_EPOCHS
    )
    warmup_steps: int = field(
        0,
        "result",
        "steps",
        'The same in optimizer steps; with schedule_by = "step".',
        later=True,
        ge=0,
        le=MOST_EPOCHS,
    )
    lr_min: float = field(0.0, "result", "", "Learning rate that a cosine falls to.", later=True, ge=0)
    milestones: list[Annotated[int, Field(ge=1, le=MOST_EPOCHS)]] = field(
        [], "result", "epochs", "Epochs at which multistep multiplies the learning rate by gamma.", later=True
    )
    gamma: float = field(
        0.1, "result", "", "Factor of the learning rate at each of the milestones.", later=True, gt=0, le=1
    )
    restart_epochs: int = field(
        0, "result", "epochs", "Length of the first cosine of restarts.", later=True, ge=0, le=MOST_EPOCHS
    )
    restart_mult: int = field(
        1, "result", "", "Length of each next cosine of restarts by that before.", later=True, ge=1, le=100
    )
    lr_factors: dict[FreeText, Annotated[float, Field(ge=0)]] = field(
        {},
        "result",
        "",
        "Factors of the learning rate by module or parameter, as {fc = 10.0}; the longest path counts.",
        later=True,
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
        later=True,
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
        "Synaptic operations and energy for one image, once at the end; rbp eval --energy does it later.",
    )
    own: Annotated[str, AfterValidator(own_function)] = field(
        "",
        "cost",
        "",
        "Your own metrics: a function measure(run, model) as mine.py:measure, relative to the preset, as often as "
        "firing rates.",
    )


class GuardSection(Section):
    """What ends the run before its last epoch, and what it tells of."""

    early_stop: int = field(
        0,
        "result",
        "epochs",
        "Complete the run once so many epochs in a row have not improved its top-1; 0 is off.",
        later=True,
        ge=0,
        le=MOST_EPOCHS,
    )
    early_stop_delta: float = field(
        0.0, "result", "fraction", "Smallest gain of top-1 that counts as an improvement.", later=True, ge=0, lt=1
    )
    max_time: Annotated[str, AfterValidator(_time_span)] = field(
        "", "cost", "", 'Stop once all attempts together have worked so long, as "4h" or "30 min"; "" is no limit.',
        later=True,
    )  # fmt: skip
    max_steps: int = field(
        0, "cost", "steps", "Stop after so many optimizer steps; 0 is no limit.", later=True, ge=0, le=10**12
    )
    alerts: list[Annotated[str, AfterValidator(_alert)]] = field(
        [], "cost", "", 'Tell of numbers, as "val.top1 < 0.2 after epoch 10", once in an attempt.', later=True
    )

    @field_validator("alerts")
    @classmethod
    def _few(cls, value: list[str]) -> list[str]:
        if len(value) > 100:
            raise PydanticCustomError("argument", "at most 100 rules")
        return value


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
        if re.fullmatch(r"auto|cpu|cuda(:[0-9]{1,3})?", value) is None:
            raise ValueError("expected auto, cpu, cuda or cuda:<number>")
        return value


class Preset(Section):
    """All choices of one training run, checked."""

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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        found = contradictions(self.model_dump())
        if found:
            text = "; ".join(f"{dotted(path)}: {message}" for path, message in found)
            raise PydanticCustomError("contradiction", "{text}", {"text": text})
        return self
