"""The weights of SpikingJelly's networks in those of ours: oracles for the values of the same networks."""

import re
from itertools import pairwise

from torch import nn


def at_work(network, bias=1.0):
    """The network in float64, with batch norms at which neurons fire and differ from image to image."""
    for norm in network.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 1.0, 3.0)
            nn.init.normal_(norm.bias, bias, 0.5)
            assert norm.running_var is not None
            norm.running_var.uniform_(0.01, 0.2)
    return network.double()


def with_weights_of(ours, theirs):
    """Our network with the weights of SpikingJelly's, which stand in the same order, but for patch embeddings: those of
    all stages come first there.

    Weights of its convolutions over tokens in a row, [C, C', 1], become those of 1×1 convolutions. Biases before batch
    norms, which QKFormer has and ours has not, become part of the running mean.
    """

    def stage(name):
        found = re.match(r"(patch_embed|stage)(\d)\.", name)
        return (found[2], found[1]) if found else ("9", "")

    state = theirs.state_dict()
    names = sorted(state, key=stage)
    if len(names) > len(ours.state_dict()):
        for place, (layer, name) in enumerate(pairwise(names)):
            if name.endswith("bias") and state[layer].ndim > 2:
                mean = next(later for later in names[place:] if later.endswith("running_mean"))
                state[mean] = state[mean] - state.pop(name)
    values = (state[name] for name in names if name in state)
    shaped = [value.unsqueeze(-1) if value.ndim == 3 else value for value in values]
    ours.load_state_dict(dict(zip(ours.state_dict(), shaped, strict=True)))
    return ours
