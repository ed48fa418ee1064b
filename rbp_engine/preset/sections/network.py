"""`[model]`, `[neuron]` and `[method]`: what is trained, and how its gradients are computed."""

from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
)

from rbp_engine.preset.sections.base import (
    MOST_STEPS,
    Arguments,
    FreeText,
    Section,
    field,
    known,
    once_each,
)
from rbp_engine.vocabulary import (
    LIBRARY_NETWORK,
    NETWORKS,
    NEURONS,
    SURROGATE_ARGUMENTS,
    TRAINING_METHODS,
    LearntName,
)


class ModelSection(Section):
    """The network."""

    name: Annotated[str, known(NETWORKS, LIBRARY_NETWORK)] = field(
        "convnet",
        "result",
        "",
        "Network to train; your own as nets.py:MyNet, relative to the preset, or a library's as torchvision:resnet50.",
        NETWORKS,
    )
    args: Arguments = field(
        {}, "result", "", "Arguments of a network of your own or a library's; width of resnet18 (64)."
    )
    init: Literal["kaiming", "paper"] = field("kaiming", "result", "", "How the weights are drawn at the start.")
    pretrained: FreeText = field(
        "",
        "place",
        "",
        "File of weights to start from, of safetensors or torch.save, or folder of a run; relative to the preset.",
    )
    pretrained_sha256: str = field(
        "", "result", "", "Hash of that file, found where it is not given.", pattern="^([0-9a-f]{64})?$"
    )


class NeuronSection(Section):
    """The neuron: leaky integrate-and-fire, or a user's own."""

    name: Annotated[str, known(NEURONS)] = field(
        "lif",
        "result",
        "",
        "Neuron of every layer; your own as mine.py:MyNeuron, relative to the preset.",
        NEURONS,
    )
    args: Arguments = field({}, "result", "", "Keyword arguments of a neuron of your own.")
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
    surrogate: Annotated[str, known(SURROGATE_ARGUMENTS)] = field(
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
    learn: Annotated[list[LearntName], AfterValidator(once_each), AfterValidator(sorted)] = field(
        [],
        "result",
        "",
        "Which of decay and threshold each neuron layer learns, from the values above.",
    )
    learn_by: Literal["layer", "channel"] = field(
        "layer", "result", "", "Learn one value for a layer, or for each of its channels."
    )


class MethodSection(Section):
    """How gradients are computed."""

    name: Annotated[str, known(TRAINING_METHODS, own=False)] = field(
        "rate_m", "result", "", "Training method.", TRAINING_METHODS
    )
    timesteps: int = field(4, "result", "steps", "Number of timesteps T that each image is shown.", ge=1, le=MOST_STEPS)
    loss_scale: Literal["1/T", "1"] = field(
        "1/T", "result", "", "Factor of the loss gradient at the mean output; rate methods only."
    )
