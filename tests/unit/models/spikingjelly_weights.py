"""The weights of SpikingJelly's networks, named as those of ours: oracles for the values of the same networks."""

import re

from torch import nn


def renamed(state, names):
    """SpikingJelly's state dict with our names: what `names` gives for regular expressions, one after another.

    Weights of its convolutions over tokens in a row, [C, C', 1], become those of 1×1 convolutions.
    """
    ours = {}
    for name, value in state.items():
        for theirs, replacement in names:
            name = re.sub(theirs, replacement, name)
        ours[name] = value.unsqueeze(-1) if value.ndim == 3 else value
    return ours


def at_work(network, bias=1.0):
    """The network in float64, with batch norms at which neurons fire and differ from image to image."""
    for norm in network.modules():
        if isinstance(norm, (nn.BatchNorm1d, nn.BatchNorm2d)):
            nn.init.uniform_(norm.weight, 1.0, 3.0)
            nn.init.normal_(norm.bias, bias, 0.5)
            assert norm.running_var is not None
            norm.running_var.uniform_(0.01, 0.2)
    return network.double()


def ms_resnet(state):
    """The state dict of a network of `spikingjelly.activation_based.model.ms_resnet`, for the same size here.

    Its neurons are `LIF(decay=0.25, threshold=0.5, reset="hard")` in an MS-ResNet, and `LIF(decay=0.5, threshold=2.0,
    reset="hard")` in a Max-ResNet.
    """
    return renamed(
        state,
        [
            (r"^layer(\d)\.", lambda found: f"stages.{int(found[1]) - 1}."),
            (r"\.downsample\.", ".shortcut."),
        ],
    )


def sdt(state):
    """The state dict of a `SpikeDrivenTransformer` of `spikingjelly.activation_based.model`, for the same size here.

    Its neurons, τ = 2 with `decay_input`, are `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    return renamed(state, _SDT)


_SDT = (
    (r"^patch_embed\.final_stage\.", "patch_embed.stages.3."),
    (r"\.rpe_conv\.", ".position.0."),
    (r"\.rpe_bn\.", ".position.1."),
    (r"\.(q|k|v)_conv\.", r".\1.0."),
    (r"\.(q|k|v)_bn\.", r".\1.1."),
    (r"\.proj_conv\.", ".project.0."),
    (r"\.proj_bn\.", ".project.1."),
    (r"\.fc(\d)\.", r".fc\1.0."),
    (r"\.bn(\d)\.", r".fc\1.1."),
)


def maxformer(state):
    """The state dict of a `MaxFormer` of `spikingjelly.activation_based.model`, for the same size here.

    Its neurons, τ = 2 with `decay_input`, are `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    return renamed(state, _MAXFORMER)


_MAXFORMER = (
    (r"^patch_embed1\.(conv|conv1)\.", "stage1.-1.stem.0."),
    (r"^patch_embed1\.(bn|bn1)\.", "stage1.-1.stem.1."),
    (r"^patch_embed1\.conv3\.", "stage1.-1.branch.3."),
    (r"^patch_embed1\.bn3\.", "stage1.-1.branch.4."),
    (r"^patch_embed1\.conv2\.", "stage1.-1.branch.0."),
    (r"^patch_embed1\.bn2\.", "stage1.-1.branch.1."),
    (r"^patch_embed(\d)\.conv1\.", r"stage\1.-1.branch.0."),
    (r"^patch_embed(\d)\.bn1\.", r"stage\1.-1.branch.1."),
    (r"^patch_embed(\d)\.conv2\.", r"stage\1.-1.branch.4."),
    (r"^patch_embed(\d)\.bn2\.", r"stage\1.-1.branch.5."),
    (r"^patch_embed(\d)\.", r"stage\1.-1."),
    (r"\.mlp\.", ".1."),
    (r"^(stage\d\.\d+)\.(fc|bn)(\d)\.", r"\1.0.\2\3."),
    (r"\.fc(\d)\.", r".fc\1.0."),
    (r"\.(0|1)\.bn(\d)\.", r".\1.fc\2.1."),
    (r"\.dwconv\.", ".0.branch.1."),
    (r"^(stage\d\.\d+)\.bn\.", r"\1.0.branch.2."),
    (r"\.attn\.qkv(_conv_bn)?\.", ".0.qkv."),
    (r"\.attn\.proj(_conv_bn)?\.", ".0.project."),
    (r"^stage(\d)\.(-?\d+)", lambda found: f"stages.{int(found[1]) - 1}.{int(found[2]) + 1}"),
)


def qkformer(state):
    """The state dict of a `spikingjelly.activation_based.model.qkformer.QKFormer` for the same size here.

    Its biases before a batch norm become part of the running mean. Its neurons, τ = 2 with `decay_input`, are
    `LIF(decay=0.5, threshold=2.0, reset="hard")`.
    """
    named = renamed(state, _QKFORMER)
    for name in [name for name in named if name.endswith(".0.bias")]:
        mean = name.replace(".0.bias", ".1.running_mean")
        named[mean] = named[mean] - named.pop(name)
    return named


# Where weights, and the batch norm behind them, stand in a `nn.Sequential` here.
_PLACE = {"conv": 0, "fc": 0, "bn": 1}
# Like `patch_embed2.bn1.weight`, which is `stages.1.0.layers.0.1.weight`. Their first patch embedding begins with our
# stem.
_QKFORMER = (
    (r"mlp\.(fc|bn)(\d)", lambda found: f"mlp.fc{found[2]}.{_PLACE[found[1]]}"),
    (r"^patch_embed1\.(conv|bn)1\.", lambda found: f"stem.0.{_PLACE[found[1]]}."),
    (
        r"^patch_embed1\.(conv|bn)(\d)\.",
        lambda found: f"stages.0.0.layers.{int(found[2]) - 2}.{_PLACE[found[1]]}.",
    ),
    (
        r"^patch_embed(\d)\.(conv|bn)(\d)\.",
        lambda found: f"stages.{int(found[1]) - 1}.0.layers.{int(found[3]) - 1}.{_PLACE[found[2]]}.",
    ),
    (r"^patch_embed(\d)\.", lambda found: f"stages.{int(found[1]) - 1}.0."),
    (r"^stage(\d)\.(\d+)\.", lambda found: f"stages.{int(found[1]) - 1}.{int(found[2]) + 1}."),
)
