"""From the settings of a neuron to what makes its layers: LIF, or a user's own."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from rbp_engine.errors import OwnCodeError
from rbp_engine.models.blocks import Neuron
from rbp_engine.spiking import LIF, OwnNeuron
from rbp_engine.spiking.surrogate import Surrogate, create_surrogate
from rbp_engine.user_code import is_own, load_own


def neuron_maker(name: str, args: Mapping[str, Any], own_code: Path, settings: Mapping[str, Any]) -> Neuron:
    """What a network calls for every neuron layer.

    `settings` are the keywords of LIF. A name like `mine.py:MyNeuron` is a class or function of a user's own in the
    folder `own_code`, which is called with `args`; of the settings it has the surrogate. That may be the user's own,
    too. Raises ValueError for an unknown name, OwnCodeError for what is no neuron or no surrogate.
    """
    surrogate = settings.get("surrogate", "sigmoid")
    if is_own(surrogate):
        settings = {**settings, "surrogate": load_own(surrogate, own_code)}
        _surrogate(surrogate, settings)  # an error names the file
    if is_own(name):
        return partial(_own, name, load_own(name, own_code), settings, **args)
    if name != "lif":
        raise ValueError(f"unknown neuron {name!r}: expected lif, or your own as file.py:name")
    return partial(LIF, **settings)


def _own(name: str, make: Any, settings: Mapping[str, Any], **args: Any) -> OwnNeuron[Any]:
    neuron = make(**args)
    if not isinstance(neuron, OwnNeuron):
        raise OwnCodeError(
            f"{name} gave {type(neuron).__name__}, not a neuron derived from rbp_engine.spiking.OwnNeuron"
        )
    neuron.surrogate = create_surrogate(settings.get("surrogate", "sigmoid"), settings.get("surrogate_args"))
    return neuron


def _surrogate(name: str, settings: Mapping[str, Any]) -> Surrogate:
    try:
        return create_surrogate(settings["surrogate"], settings.get("surrogate_args"))
    except (TypeError, ValueError) as error:
        raise OwnCodeError(f"{name}: {error}") from error
