"""Networks of torchvision, timm and SpikingJelly by name: built there, given our neurons; no weights are loaded."""

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping
from typing import Any, Final

from torch import Tensor, nn

from rbp_engine.errors import SettingsError
from rbp_engine.settings.spelling import did_you_mean
from rbp_engine.spiking.convert.make_spiking import SpikingReport, make_spiking

_INSTALL: Final = {"timm": "pip install 'rbp-tui[timm]'"}
# Keywords of SpikingJelly's constructors. Networks that repeat an image T times are made for T = 1, since a method runs
# the timesteps. How a SEW-ResNet joins its branches has no default there; this is that of their paper.
_OF_SPIKINGJELLY: Final[Mapping[str, Any]] = {"T": 1, "cnf": "ADD"}

# Those of torchvision that return logits of auxiliary classifiers while training, unless told not to.
_AUXILIARY: Final = ("googlenet", "inception_v3")


def library_network(
    name: str, *, num_classes: int, in_channels: int, neuron: Callable[[], nn.Module], args: Mapping[str, Any]
) -> tuple[nn.Module, SpikingReport]:
    """The network of a name like `torchvision:resnet50` with newly drawn weights and our neurons, and the report.

    `args` are further keywords of its constructor. Raises SettingsError where the library is not installed, has no such
    network, or cannot build it with these keywords and channels.
    """
    library, _, called = name.partition(":")
    try:
        # A name of timm may have a tag, which says how weights were trained, and changes settings.
        names = library_names(library, tags="." in called)
    except ModuleNotFoundError as error:
        if error.name != library:
            raise
        raise SettingsError(f"{name} needs {library}: {_INSTALL.get(library, f'pip install {library}')}") from None
    if called not in names:
        raise SettingsError(
            f"{library} has no network for images called '{called}'."
            f"{did_you_mean(called, names) or ' docs/networks-from-elsewhere.md has names'}"
        )
    try:
        network = _BUILD[library](called, num_classes, in_channels, args)
    except (TypeError, ValueError, AssertionError, NotImplementedError) as error:
        given = f" with model.args = {{{', '.join(f'{key} = {value}' for key, value in args.items())}}}" if args else ""
        raise SettingsError(f"{name} cannot be built{given}: {error}") from error
    return make_spiking(network, neuron)


def library_names(library: str, *, tags: bool = False) -> list[str]:
    """The names of a library's networks for images; with `tags` those of timm have one.

    Raises ModuleNotFoundError if the library is not installed.
    """
    if library == "spikingjelly":
        return sorted(_spikingjelly_models())
    if library == "timm":
        import timm

        return list(timm.list_models(pretrained=tags))
    import torchvision

    return list(torchvision.models.list_models(module=torchvision.models))


def _torchvision(called: str, num_classes: int, in_channels: int, args: Mapping[str, Any]) -> nn.Module:
    import torchvision

    plain = {"aux_logits": False} if called in _AUXILIARY else {}
    network = torchvision.models.get_model(called, weights=None, num_classes=num_classes, **{**plain, **args})
    return _with_channels(network, in_channels)


def _timm(called: str, num_classes: int, in_channels: int, args: Mapping[str, Any]) -> nn.Module:
    import timm

    return timm.create_model(called, pretrained=False, num_classes=num_classes, in_chans=in_channels, **args)


def _spikingjelly(called: str, num_classes: int, in_channels: int, args: Mapping[str, Any]) -> nn.Module:
    from spikingjelly.activation_based.neuron import LIFNode

    make = _spikingjelly_models()[called]
    known = {**_OF_SPIKINGJELLY, "in_channels": in_channels}
    taken = {name: known[name] for name in inspect.signature(make).parameters if name in known}
    given = {**taken, **args}
    if called.startswith("masnn_"):
        given.setdefault("reduction_t", 1)  # of its attention over T timesteps
    network = _with_channels(make(num_classes=num_classes, spiking_neuron=LIFNode, **given), in_channels)
    if called.startswith("spikformer"):  # returns [T, B, classes]; a module around it would rename its weights
        network.register_forward_hook(_without_time)
    return network


def _without_time(network: nn.Module, inputs: Any, logits: Tensor) -> Tensor:
    """The logits [T·B, classes] of a network that returns [T, B, classes]."""
    return logits.flatten(0, 1)


_BUILD: Final[Mapping[str, Callable[[str, int, int, Mapping[str, Any]], nn.Module]]] = {
    "torchvision": _torchvision,
    "timm": _timm,
    "spikingjelly": _spikingjelly,
}


def _spikingjelly_models() -> dict[str, Callable[..., nn.Module]]:
    """The functions in SpikingJelly's files of models that build a network."""
    from spikingjelly.activation_based import model

    builders: dict[str, Callable[..., nn.Module]] = {}
    for module in pkgutil.iter_modules(model.__path__, f"{model.__name__}."):
        there = vars(importlib.import_module(module.name))
        builders |= {
            name: value
            for name, value in there.items()
            if inspect.isfunction(value) and value.__module__ == module.name and not name.startswith("_")
            if "spiking_neuron" in inspect.signature(value).parameters
        }
    return builders


def _with_channels(network: nn.Module, in_channels: int) -> nn.Module:
    """The network with a first convolution for images of this many channels; it was built for 3.

    Raises ValueError if no convolution takes 3 channels.
    """
    if in_channels == 3:
        return network
    for module in network.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == in_channels:
            return network
        if isinstance(module, nn.Conv2d) and module.in_channels == 3 and module.groups == 1:
            module.in_channels = in_channels
            module.weight = nn.Parameter(module.weight.new_empty(module.out_channels, in_channels, *module.kernel_size))
            module.reset_parameters()
            return network
    raise ValueError(
        f"it takes images of 3 channels, these have {in_channels}, and no convolution of it can be changed"
    )
