"""The names in presets: networks, methods, surrogates, event layouts, devices. Without torch and numpy.

They are listed only here, and data sets in `data/sets/`. The schema, the registries, reports and completion read them
from here, or a test checks that they are equal.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

# Where to compute; the first card is cuda:0.
DEVICE: Final = re.compile(r"auto|cpu|cuda(:[0-9]{1,3})?")
# Each name as the paper writes it.
NETWORKS: Final[Mapping[str, str]] = {
    "convnet": "convnet",
    "resnet18": "ResNet-18",
    "resnet19": "ResNet-19",
    "vgg11": "VGG-11",
    "vgg13": "VGG-13",
    "vggsnn_cifar": "VGGSNN",
    "vggsnn_dvs": "VGGSNN",
    "sew_resnet34": "SEW-ResNet-34",
    "preact_resnet34": "PreAct-ResNet-34",
    "spikformer_digits": "Spikformer-2-64",
    "spikformer_mnist": "Spikformer-2-64",
    "spikformer_4_384": "Spikformer-4-384",
    "spikformer_2_256": "Spikformer-2-256",
    "spikformer_8_384": "Spikformer-8-384",
    "spikformer_8_512": "Spikformer-8-512",
    "spikformer_8_768": "Spikformer-8-768",
    "qkformer_digits": "QKFormer-2-64",
    "qkformer_4_384": "QKFormer-4-384",
    "qkformer_2_256": "QKFormer-2-256",
    "qkformer_10_384": "QKFormer-10-384",
    "qkformer_10_512": "QKFormer-10-512",
    "qkformer_10_768": "QKFormer-10-768",
    "ms_resnet18_cifar": "MS-ResNet-18",
    "max_resnet18_cifar": "Max-ResNet-18",
    "ms_resnet18": "MS-ResNet-18",
    "ms_resnet34": "MS-ResNet-34",
    "ms_resnet104": "MS-ResNet-104",
    "sdt_2_512": "SDT-2-512",
    "sdt_8_384": "SDT-8-384",
    "sdt_8_512": "SDT-8-512",
    "sdt_8_768": "SDT-8-768",
    "sdt_v2_3_96": "SDT-V2-3-96",
    "sdt_v2_8_256": "SDT-V2-8-256",
    "sdt_v2_8_384": "SDT-V2-8-384",
    "sdt_v2_8_512": "SDT-V2-8-512",
    "maxformer_4_384": "Max-Former-4-384",
    "maxformer_10_384": "Max-Former-10-384",
    "maxformer_10_768": "Max-Former-10-768",
}
# The arguments of networks that take some: whole numbers, with the largest.
NETWORK_ARGUMENTS: Final[Mapping[str, Mapping[str, int]]] = {"resnet18": {"width": 1024}}
NEURONS: Final[Mapping[str, str]] = {"lif": "LIF"}
# In the order of the paper.
TRAINING_METHODS: Final[Mapping[str, str]] = {
    "bptt": "BPTT",
    "bptt_s": "BPTT_S",
    "rate_m": "rate_M",
    "rate_s": "rate_S",
    "sltt": "SLTT",
    "ottt": "OTTT",
}
# Those of the paper, which carry rates.
RATE_METHODS: Final = ("rate_m", "rate_s")
# The name of a surrogate is that of SpikingJelly's class in snake case; these are the parameters of its static
# `backward(grad_output, x, …)` after the first two.
SURROGATE_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    "sigmoid": ("alpha",),
    "piecewise_quadratic": ("alpha",),
    "piecewise_exp": ("alpha",),
    "soft_sign": ("alpha",),
    "super_spike": ("alpha",),
    "atan": ("alpha",),
    "nonzero_sign_log_abs": ("alpha",),
    "erf": ("alpha",),
    "piecewise_leaky_relu": ("w", "c"),
    "leaky_k_relu": ("leak", "k"),
    "fake_numerical_gradient": ("alpha",),
    "log_tailed_relu": ("alpha",),
    "rect": ("alpha",),
}

# What a neuron can learn.
LearntName = Literal["decay", "threshold"]
LossName = Literal["ce", "tet", "mse"]
ScheduleName = Literal["cosine", "constant", "multistep", "restarts"]

# T slices of equal event count or equal time.
FramesBy = Literal["number", "time"]
# Test on the last or first hundred recordings of each class, by number, or on a random tenth of each class.
SplitName = Literal["last100", "first100", "random"]
# Average each channel separately, or resize as the published code does, see `resize.legacy_pil`.
Resize = Literal["exact", "legacy_pil"]
# The same orientation for all layouts, or the one in the files.
Orientation = Literal["canonical", "stored"]

# Images in folders of the user's, found by a name in machine.toml, like `folder:flowers`.
FOLDER_SET: Final = re.compile(r"folder:(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})")

# A network of a library, like `torchvision:resnet50`; what a library has is known only where the network is built.
LIBRARIES: Final = ("torchvision", "timm", "spikingjelly")
LIBRARY_NETWORK: Final = re.compile(rf"(?P<library>{'|'.join(LIBRARIES)}):(?P<name>[A-Za-z_0-9][A-Za-z_0-9.]*)")
# Keywords with which libraries download weights, or load them in a way that executes code.
WEIGHT_KEYWORDS: Final = ("weights", "weights_backbone", "pretrained", "pretrained_backbone", "checkpoint_path")
# Keywords that rbp gives, from the data; and those of SpikingJelly's neurons, in whose place ours are put.
DATA_KEYWORDS: Final = ("num_classes", "in_channels", "in_chans")
NEURON_KEYWORDS: Final = (
    "spiking_neuron",
    "tau",
    "decay_input",
    "v_threshold",
    "v_reset",
    "surrogate_function",
    "detach_reset",
    "step_mode",
)

# A user's own network, neuron, data set or metrics, like `nets.py:MyNet`; no name that is meant has control characters.
OWN_CODE: Final = re.compile(r"(?P<file>[^:\x00-\x1f\x7f]+\.py):(?P<name>[A-Za-z_][A-Za-z_0-9]*)")
