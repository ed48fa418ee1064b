"""Networks by name: one file per family, with the networks of its paper. None knows T or the training method."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from rbp_engine.errors import OwnCodeError
from rbp_engine.models import maxformer, ms_resnet, qkformer, resnet, sdt, sdt_v2, spikformer, vgg
from rbp_engine.models.blocks import Neuron
from rbp_engine.models.libraries import library_network
from rbp_engine.spiking import LIF, OwnNeuron
from rbp_engine.spiking.surrogate import create_surrogate
from rbp_engine.user_code import call_own, is_own, load_own
from rbp_engine.vocabulary import LIBRARY_NETWORK

MODELS: dict[str, Callable[..., nn.Module]] = {
    **vgg.NETWORKS,
    **resnet.NETWORKS,
    **spikformer.NETWORKS,
    **qkformer.NETWORKS,
    **ms_resnet.NETWORKS,
    **sdt.NETWORKS,
    **sdt_v2.NETWORKS,
    **maxformer.NETWORKS,
}


def create_model(
    name: str,
    *,
    num_classes: int,
    in_channels: int,
    init: str = "kaiming",
    own_code: Path = Path(),
    args: Mapping[str, Any] | None = None,
    neuron_name: str = "lif",
    neuron_args: Mapping[str, Any] | None = None,
    notify: Callable[[str], None] = lambda text: None,
    **neuron_settings: Any,
) -> nn.Module:
    """The network of this name, with newly drawn weights in channels-last memory format.

    Convolutions and batch norms run faster in this format, and their inputs need not have it.

    `neuron_settings` are the keywords of `rbp_engine.spiking.LIF`: decay, threshold, reset, v_reset, detach_reset,
    surrogate, surrogate_args, kernel, learn, learn_by; another neuron is given by `neuron_name` and `neuron_args`
    (`neuron_maker`). A name like `nets.py:MyNet` is a user's own: the class or function in that file in the folder
    `own_code`, called with `num_classes`, `in_channels`, `neuron` (which it calls for every neuron layer) and `args`.
    One like `torchvision:resnet50` is a library's, with our neurons in the place of its activations, of which `notify`
    gets the report. Raises ValueError for an unknown name or a bad value, TypeError for an unknown keyword.
    """
    neuron = neuron_maker(neuron_name, neuron_args or {}, own_code, neuron_settings)
    given: dict[str, Any] = {"num_classes": num_classes, "in_channels": in_channels, "neuron": neuron}
    if is_own(name):
        own = call_own(name, own_code, **given, **(args or {}))
        if not isinstance(own, nn.Module):
            raise OwnCodeError(f"{name} gave {type(own).__name__}, not a torch.nn.Module")
        return _channels_last(own)
    if LIBRARY_NETWORK.fullmatch(name):
        network, report = library_network(name, **given, args=args or {})
        notify(f"{name}: {report}")
        return _channels_last(network)
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: one of {', '.join(MODELS)}")
    return _channels_last(MODELS[name](**given, init=init, **(args or {})))


def _channels_last(model: nn.Module) -> nn.Module:
    # Not `model.to(memory_format=…)`, which raises for a network that also has a 3-D convolution.
    for parameter in model.parameters():
        if not is_lazy(parameter) and parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model


def neuron_maker(name: str, args: Mapping[str, Any], own_code: Path, settings: Mapping[str, Any]) -> Neuron:
    """What a network calls for every neuron layer.

    `settings` are the keywords of LIF. A name like `mine.py:MyNeuron` is a class or function of a user's own in the
    folder `own_code`, which is called with `args`; of the settings it gets the surrogate alone, which may also be the
    user's own. Raises ValueError for an unknown name, OwnCodeError for anything but a neuron or a surrogate.
    """
    surrogate = settings.get("surrogate", "sigmoid")
    if is_own(surrogate):
        settings = {**settings, "surrogate": load_own(surrogate, own_code)}
        try:
            create_surrogate(settings["surrogate"], settings.get("surrogate_args"))
        except (TypeError, ValueError) as error:
            raise OwnCodeError(f"{surrogate}: {error}") from error
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
