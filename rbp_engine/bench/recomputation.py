"""Activation checkpointing of SpikingJelly's networks: blocks keep their input; the backward pass computes them again.

memopt        SpikingJelly's own, which also packs eight spikes into a byte
checkpointed  torch.utils.checkpoint, around the same blocks
"""

from collections import OrderedDict
from collections.abc import Callable

import torch
from spikingjelly.activation_based import memopt, neuron
from torch import nn
from torch.utils.checkpoint import checkpoint

from rbp_engine.methods.protocol import reset_state

# Level 1 checkpoints blocks; 2 to 4 split them in space and time and undo what does not pay, by measurements of CUDA's
# memory.
LEVEL, LEVEL_ON_CPU = 4, 1


class Block(nn.Sequential):
    """Layers one after another, with a neuron among them."""


def blocks(network: nn.Module) -> list[nn.Module]:
    """The blocks of a network of SpikingJelly's layers: the outermost modules that have neurons as layers of their own.

    Where the network itself is a plain list of layers, those up to a neuron become a block, in place; another neuron
    outside of blocks is one by itself.
    """
    if isinstance(network, nn.Sequential):
        _group(network)
    found: list[nn.Module] = []

    def search(parent: nn.Module) -> None:
        for name, child in list(parent.named_children()):
            if isinstance(child, neuron.BaseNode):
                found.append(child)
            elif not any(isinstance(layer, neuron.BaseNode) for layer in child.children()):
                search(child)
            else:
                # A plain Sequential is not told from others by its class, which is what memopt goes by.
                block = Block(OrderedDict(child.named_children())) if type(child) is nn.Sequential else child
                setattr(parent, name, block)
                found.append(block)

    search(network)
    return found


def _group(network: nn.Sequential) -> None:
    """Put the layers up to each neuron into a block; modules with layers of their own stay where they are."""
    layers: list[nn.Module] = []
    waiting: list[nn.Module] = []
    for layer in network:
        if isinstance(layer, neuron.BaseNode):
            layers.append(Block(*waiting, layer))
            waiting = []
        elif list(layer.children()):
            layers += [*waiting, layer]
            waiting = []
        else:
            waiting.append(layer)
    del network[:]
    network.extend([*layers, *waiting])


def use_memopt(network: nn.Module, forward: Callable[[nn.Module], object], device: torch.device) -> str:
    """Let memopt change a network in place, as its examples do; `forward` runs it on a batch. Returns the level."""
    level = LEVEL if device.type == "cuda" else LEVEL_ON_CPU
    kinds = tuple({type(block) for block in blocks(network)})
    with torch.set_grad_enabled(level > LEVEL_ON_CPU):  # level 1 only looks at what blocks receive
        memopt.optimize_memory(
            network,
            kinds,
            forward,
            level=level,
            split_fn=lambda block: list(block.children()),
            can_chunk=lambda module: isinstance(module, neuron.BaseNode),
        )
    return f"level {level}"


def use_checkpoints(network: nn.Module) -> None:
    """Put torch.utils.checkpoint around each block, in place."""
    for block in blocks(network):
        block.forward = _checkpointed(block)


def _checkpointed(block: nn.Module) -> Callable[..., object]:
    run = block.forward

    def from_rest(*values: object) -> object:
        reset_state(block)  # the second time, too
        return run(*values)

    def forward(*values: object) -> object:
        return checkpoint(from_rest, *values, use_reentrant=False)

    return forward
