"""SpikingJelly's own networks where layers alone do not make one: a spiking transformer folds T into its tensors."""

from collections.abc import Callable

from spikingjelly.activation_based.base import MemoryModule
from spikingjelly.activation_based.layer import attention
from spikingjelly.activation_based.model import spikformer
from torch import nn

from rbp_engine.models.blocks import ATTENTION_SCALE
from rbp_engine.models.spikformer import Spikformer, SpikingSelfAttention
from rbp_engine.spiking import LIF


def spikingjelly_spikformer(model: Spikformer, timesteps: int, neuron: Callable[[LIF], nn.Module]) -> nn.Module:
    """SpikingJelly's Spikformer of the same size, weights and scale of attention; `neuron` makes its neurons of ours.

    Raises ValueError for a size that it does not have.
    """
    patch = 2 ** sum(isinstance(module, nn.MaxPool2d) for module in model.modules())
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))
    heads = next(module.heads for module in model.modules() if isinstance(module, SpikingSelfAttention))
    try:
        theirs = spikformer.Spikformer(
            T=timesteps,
            in_channels=first.in_channels,
            patch_size=patch,
            num_classes=model.head.out_features,
            embed_dims=model.head.in_features,
            num_heads=heads,
            depths=len(model.blocks),
        )
    except ValueError as error:
        raise ValueError(f"SpikingJelly has no Spikformer of this size: {error}") from None
    # Both have their weights in one order; its convolutions over tokens are in one dimension.
    both = zip(theirs.state_dict().items(), model.state_dict().values(), strict=True)
    theirs.load_state_dict({name: ours.reshape(value.shape) for (name, value), ours in both})
    for module in theirs.modules():
        if isinstance(module, attention.SpikingSelfAttention):
            module.scale = ATTENTION_SCALE
    places = [name for name, module in theirs.named_modules() if isinstance(module, MemoryModule)]
    neurons = [module for module in model.modules() if isinstance(module, LIF)]
    for place, ours in zip(places, neurons, strict=True):
        theirs.set_submodule(place, neuron(ours))
    network: nn.Module = theirs.to(first.weight.device, first.weight.dtype).train(model.training)
    return network
