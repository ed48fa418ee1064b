"""The weights that a network starts from, out of a file: what fits is taken, and what does not is named."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from rbp_engine.errors import SettingsError
from rbp_engine.preset.pretrained import digest_of
from rbp_engine.preset.sections.network import ModelSection
from rbp_engine.untrusted_files import described, open_untrusted

# Under these keys people save the weights beside their optimizer, and DistributedDataParallel puts this before each.
_WRAPPED_IN: Final = ("state_dict", "model_state_dict", "model", "net")
_PREFIX: Final = "module."
_SHOWN: Final = 4


def load_pretrained(section: ModelSection, model: nn.Module) -> str:
    """Load the weights that a preset names into the network; returns a sentence about what was taken.

    Raises SettingsError for a file that cannot be read, has changed since the run was made, or fits nowhere.
    """
    path = Path(section.pretrained)
    try:
        if digest_of(path) != section.pretrained_sha256:
            raise SettingsError(f"{path} has changed since the run was made: train anew to start from it as it is now")
        weights = read_weights(path)
    except OSError as error:
        raise SettingsError(f"cannot read the weights to start from: {described(error)}") from error
    return f"weights from {path}: {take(weights, model, str(path))}"


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file of safetensors, or of one that torch.save wrote, by name; nothing in it is executed.

    Raises OSError, and SettingsError for another kind of file.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with open_untrusted(path) as file:
            content = torch.load(file, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:
        raise SettingsError(
            f"{path} holds no weights that can be read safely ({type(error).__name__}): save model.state_dict() with "
            "torch.save, or as safetensors"
        ) from error
    while isinstance(content, Mapping) and (
        inside := [content[key] for key in _WRAPPED_IN if isinstance(content.get(key), Mapping)]
    ):
        content = inside[0]
    named = content.items() if isinstance(content, Mapping) else ()
    weights = {str(key): value for key, value in named if isinstance(value, Tensor)}
    if not weights:
        raise SettingsError(f"{path} holds no weights by name: save model.state_dict()")
    prefix = _PREFIX if all(key.startswith(_PREFIX) for key in weights) else ""
    return {key.removeprefix(prefix): tensor for key, tensor in weights.items()}


def take(weights: Mapping[str, Tensor], model: nn.Module, name: str) -> str:
    """Put the weights that fit into the network; returns what was taken and what was not, in words.

    A weight that has another shape in the file, or is not in it, stays as drawn. Raises SettingsError if nothing fits,
    or if a weight is not finite.
    """
    own = model.state_dict()
    fitting = {
        key: weights[key]
        for key, here in own.items()
        if key in weights and (is_lazy(here) or weights[key].shape == here.shape)
    }
    if not any(weights[key].ndim for key in fitting):
        raise SettingsError(
            f"no weight of {name} fits this network: it has {_some(list(weights))}, the network {_some(list(own))}"
        )
    broken = [key for key, tensor in fitting.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise SettingsError(f"weights of {name} are NaN or infinite ({_some(broken)}): take them from an earlier step")
    model.load_state_dict(fitting, strict=False)
    reshaped = [key for key in own if key in weights and key not in fitting]
    not_taken = {
        "of another shape and left as drawn": [
            f"{key} ({list(weights[key].shape)} there, {list(own[key].shape)} here)" for key in reshaped
        ],
        "not in the file and left as drawn": [key for key in own if key not in weights],
        "in the file and not used": [key for key in weights if key not in own],
    }
    parts = [f"{what}: {_some(names)}" for what, names in not_taken.items() if names]
    return "; ".join([f"{len(fitting)} tensors taken", *parts])


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
