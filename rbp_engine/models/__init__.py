"""Networks by name: one file per family, one registry. A model knows neither T nor the training method."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from rbp_engine.errors import OwnCodeError
from rbp_engine.models.convnet import convnet
from rbp_engine.models.imagenet_resnet import preact_resnet34, sew_resnet34
from rbp_engine.models.libraries import library_network
from rbp_engine.models.maxformer import maxformer_4_384, maxformer_10_384, maxformer_10_768
from rbp_engine.models.ms_resnet import (
    max_resnet18_cifar,
    ms_resnet18,
    ms_resnet18_cifar,
    ms_resnet34,
    ms_resnet104,
)
from rbp_engine.models.neurons import neuron_maker
from rbp_engine.models.qkformer import (
    qkformer_2_256,
    qkformer_4_384,
    qkformer_10_384,
    qkformer_10_512,
    qkformer_10_768,
    qkformer_digits,
)
from rbp_engine.models.resnet import resnet18, resnet19
from rbp_engine.models.sdt import sdt_2_512, sdt_8_384, sdt_8_512, sdt_8_768
from rbp_engine.models.sdt_v2 import sdt_v2_3_96, sdt_v2_8_256, sdt_v2_8_384, sdt_v2_8_512
from rbp_engine.models.spikformer import (
    spikformer_2_256,
    spikformer_4_384,
    spikformer_8_384,
    spikformer_8_512,
    spikformer_8_768,
    spikformer_digits,
    spikformer_mnist,
)
from rbp_engine.models.vgg import vgg11, vgg13, vggsnn_cifar, vggsnn_dvs
from rbp_engine.user_code import call_own, is_own
from rbp_engine.vocabulary import LIBRARY_NETWORK

MODELS: dict[str, Callable[..., nn.Module]] = {
    "convnet": convnet,
    "resnet18": resnet18,
    "resnet19": resnet19,
    "vgg11": vgg11,
    "vgg13": vgg13,
    "vggsnn_cifar": vggsnn_cifar,
    "vggsnn_dvs": vggsnn_dvs,
    "sew_resnet34": sew_resnet34,
    "preact_resnet34": preact_resnet34,
    "spikformer_digits": spikformer_digits,
    "spikformer_mnist": spikformer_mnist,
    "spikformer_4_384": spikformer_4_384,
    "spikformer_2_256": spikformer_2_256,
    "spikformer_8_384": spikformer_8_384,
    "spikformer_8_512": spikformer_8_512,
    "spikformer_8_768": spikformer_8_768,
    "qkformer_digits": qkformer_digits,
    "qkformer_4_384": qkformer_4_384,
    "qkformer_2_256": qkformer_2_256,
    "qkformer_10_384": qkformer_10_384,
    "qkformer_10_512": qkformer_10_512,
    "qkformer_10_768": qkformer_10_768,
    "ms_resnet18_cifar": ms_resnet18_cifar,
    "max_resnet18_cifar": max_resnet18_cifar,
    "ms_resnet18": ms_resnet18,
    "ms_resnet34": ms_resnet34,
    "ms_resnet104": ms_resnet104,
    "sdt_2_512": sdt_2_512,
    "sdt_8_384": sdt_8_384,
    "sdt_8_512": sdt_8_512,
    "sdt_8_768": sdt_8_768,
    "sdt_v2_3_96": sdt_v2_3_96,
    "sdt_v2_8_256": sdt_v2_8_256,
    "sdt_v2_8_384": sdt_v2_8_384,
    "sdt_v2_8_512": sdt_v2_8_512,
    "maxformer_4_384": maxformer_4_384,
    "maxformer_10_384": maxformer_10_384,
    "maxformer_10_768": maxformer_10_768,
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
    told: Callable[[str], None] = lambda text: None,
    **neuron_settings: Any,
) -> nn.Module:
    """The network of this name, with newly drawn weights in channels-last memory format.

    Convolutions and batch norms run faster in this format, and their inputs need not have it.

    `neuron_settings` are the keywords of `rbp_engine.spiking.LIF`: decay, threshold, reset, v_reset, detach_reset,
    surrogate, surrogate_args, kernel, learn, learn_by; another neuron is given by `neuron_name` and `neuron_args`
    (`models/neurons.py`). A name like `nets.py:MyNet` is a user's own: the class or function in that file in the folder
    `own_code`, called with `num_classes`, `in_channels`, `neuron` (which it calls for every neuron layer) and `args`.
    One like `torchvision:resnet50` is a library's, with our neurons in the place of its activations, of which `told`
    gets the report. Raises ValueError for an unknown name or a bad value, TypeError for an unknown keyword.
    """
    neuron = neuron_maker(neuron_name, neuron_args or {}, own_code, neuron_settings)
    if is_own(name):
        given = {"num_classes": num_classes, "in_channels": in_channels, "neuron": neuron}
        own = call_own(name, own_code, **given, **(args or {}))
        if not isinstance(own, nn.Module):
            raise OwnCodeError(f"{name} gave {type(own).__name__}, not a torch.nn.Module")
        return _channels_last(own)
    if LIBRARY_NETWORK.fullmatch(name):
        network, report = library_network(
            name, num_classes=num_classes, in_channels=in_channels, neuron=neuron, args=args or {}
        )
        told(f"{name}: {report}")
        return _channels_last(network)
    if name not in MODELS:
        raise ValueError(f"unknown model {name!r}: one of {', '.join(MODELS)}")
    keywords = {"num_classes": num_classes, "in_channels": in_channels, "neuron": neuron, "init": init}
    return _channels_last(MODELS[name](**keywords, **(args or {})))


def _channels_last(model: nn.Module) -> nn.Module:
    # Not `model.to(memory_format=…)`, which raises for a network that also has a 3-D convolution.
    for parameter in model.parameters():
        if not is_lazy(parameter) and parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
    return model
