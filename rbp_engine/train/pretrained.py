"""The weights that a network starts from, out of a file: what fits is taken, and what does not is named."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

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


@dataclass(frozen=True)
class Fit:
    """How the weights of a file fit a network: `taken` tensors, and the names of the others.

    `missing` are only in the network, `unused` only in the file. `reshaped` have another shape there, with both shapes;
    they stay as drawn, like `missing`.
    """

    taken: int
    missing: tuple[str, ...]
    unused: tuple[str, ...]
    reshaped: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.taken} tensors taken"]
        for what, names in (
            ("of another shape and left as drawn", self.reshaped),
            ("not in the file and left as drawn", self.missing),
            ("in the file and not used", self.unused),
        ):
            if names:
                parts.append(f"{what}: {_some(names)}")
        return "; ".join(parts)


def load_pretrained(section: ModelSection, model: nn.Module) -> str:
    """Load the weights that a preset names into the network; returns a sentence about what was taken.

    Raises SettingsError for a file that cannot be read, is another one than when the run was made, or fits nowhere.
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
            found = torch.load(file, weights_only=True, map_location="cpu")
    except OSError:
        raise
    except Exception as error:
        raise SettingsError(
            f"{path} holds no weights that can be read safely ({type(error).__name__}): save model.state_dict() with "
            "torch.save, or as safetensors"
        ) from error
    while isinstance(found, Mapping) and (inner := next((key for key in _WRAPPED_IN if _holds(found, key)), None)):
        found = found[inner]
    weights = {str(key): value for key, value in _items(found) if isinstance(value, Tensor)}
    if not weights:
        raise SettingsError(f"{path} holds no weights by name: save model.state_dict()")
    return _without_prefix(weights)


def take(weights: Mapping[str, Tensor], model: nn.Module, name: str) -> Fit:
    """Put the weights that fit into the network. Raises SettingsError if none does, or if one is not finite."""
    own = model.state_dict()
    fitting = {key: weights[key] for key, here in own.items() if key in weights and _fits(weights[key], here)}
    if not any(weights[key].ndim for key in fitting):
        raise SettingsError(
            f"no weight of {name} fits this network: it has {_some(list(weights))}, the network {_some(list(own))}"
        )
    broken = [key for key, tensor in fitting.items() if tensor.is_floating_point() and not tensor.isfinite().all()]
    if broken:
        raise SettingsError(f"weights of {name} are NaN or infinite ({_some(broken)}): take them from an earlier step")
    model.load_state_dict(fitting, strict=False)
    reshaped = [key for key in own if key in weights and key not in fitting]
    return Fit(
        len(fitting),
        tuple(key for key in own if key not in weights),
        tuple(key for key in weights if key not in own),
        tuple(f"{key} ({list(weights[key].shape)} there, {list(own[key].shape)} here)" for key in reshaped),
    )


def _fits(there: Tensor, here: Tensor) -> bool:
    return is_lazy(here) or there.shape == here.shape


def _holds(found: Mapping[Any, Any], key: str) -> bool:
    return isinstance(found.get(key), Mapping)


def _items(found: Any) -> Sequence[tuple[Any, Any]]:
    return list(found.items()) if isinstance(found, Mapping) else []


def _without_prefix(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    if all(key.startswith(_PREFIX) for key in weights):
        return {key.removeprefix(_PREFIX): tensor for key, tensor in weights.items()}
    return weights


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
