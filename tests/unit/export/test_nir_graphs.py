"""Files of NIR: what is written is the network, spike by spike, and what cannot be written is refused."""

import math
import re
from collections import Counter
from functools import partial
from pathlib import Path

import nir
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based.nir_exchange import import_from_nir
from torch import nn

from rbp_engine.export.check import check_predictions, check_spikes, execute
from rbp_engine.export.graph import NumberFormat, to_graph
from rbp_engine.export.operations import AdaptivePool, AnySpike, ExportError, LinearMap
from rbp_engine.export.walk import walk
from rbp_engine.methods.protocol import predict
from rbp_engine.models import MODELS, create_model
from rbp_engine.models.blocks import PreActBlock
from rbp_engine.models.resnet import ResNet, SEWBlock
from rbp_engine.models.vgg import convnet
from rbp_engine.spiking import LIF, register_rule
from rbp_engine.spiking.rules import rule_table
from tests.own_neurons import OwnLIF

Hard = partial(LIF, reset="hard")


class Net(nn.Module):
    """Convolution, batch norm and neuron, then what a test says, and a linear layer on what is left."""

    def __init__(self, *, inside=6 * 64, **layers):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6), Hard())
        for name, layer in layers.items():
            self.add_module(name, layer)
        self.head = nn.Linear(inside, 5)

    def forward(self, x):
        return self.head(self.middle(self.stem(x)).flatten(1))

    def middle(self, x):
        for name, layer in self.named_children():
            x = x if name in ("stem", "head") else layer(x)
        return x


def after(function, inside=6 * 64, **layers):
    """A `Net` whose middle is a function of (net, x)."""
    return type("Changed", (Net,), {"middle": function})(inside=inside, **layers)


def twice(net, x):
    return net.neuron(x + x)


def residual(net, x):
    return net.conv(x) + x


def before_and_after_norm(net, x):
    x = net.conv(x)
    return net.neuron(net.norm(x) + x)


BUILDING_BLOCKS = {
    "groups": (Net(conv=nn.Conv2d(6, 6, 3, padding=1, groups=3, bias=False), neuron=Hard()), {"Conv2d": 2}),
    "depthwise, dilated": (Net(conv=nn.Conv2d(6, 6, 3, padding=2, dilation=2, groups=6), neuron=Hard()), {"Conv2d": 2}),
    "strided, same": (
        Net(inside=6 * 16, a=nn.Conv2d(6, 6, 3, padding="same"), n=Hard(), b=nn.Conv2d(6, 6, 3, 2, 1)),
        {"Conv2d": 3},
    ),
    "flat batch norm": (
        Net(inside=8, flat=nn.Flatten(), a=nn.Linear(384, 8, bias=False), b=nn.BatchNorm1d(8), c=Hard()),
        {"Affine": 2},
    ),
    "dropout": (Net(drop=nn.Dropout(0.5), conv=nn.Conv2d(6, 6, 1), neuron=Hard()), {"Conv2d": 2}),
    "max pooling of spikes": (Net(inside=6 * 16, pool=nn.MaxPool2d(3, 2, padding=1)), {"SumPool2d": 1, "Threshold": 1}),
    "padded average": (Net(inside=6 * 25, pool=nn.AvgPool2d(2, padding=1)), {"AvgPool2d": 1}),
    "adaptive, one size": (Net(inside=6 * 16, pool=nn.AdaptiveAvgPool2d(4)), {"AvgPool2d": 1}),
    "adaptive, folded": (Net(inside=6 * 25, pool=nn.AdaptiveAvgPool2d(5)), {"AvgPool2d": 0}),
    "mean over space": (after(lambda net, x: x.mean((2, 3)), inside=6), {"AvgPool2d": 1}),
    "view": (after(lambda net, x: x.view(x.size(0), -1)), {"Flatten": 1}),
    "integrate and fire": (Net(conv=nn.Conv2d(6, 6, 3, padding=1), neuron=Hard(decay=1.0)), {"IF": 1, "LIF": 1}),
    "another rest": (
        Net(conv=nn.Conv2d(6, 6, 3, padding=1), neuron=Hard(decay=0.7, v_reset=-0.3, threshold=0.8)),
        {"LIF": 2},
    ),
    # 1/(1 − λ)·(1 − λ) is rounded to less than 1 here, and the spikes of 1 reach a threshold of 1.
    "neurons on spikes": (Net(neuron=Hard(decay=0.9171248688588729)), {"LIF": 2}),
    "a sum of two": (after(residual, conv=nn.Conv2d(6, 6, 3, padding=1)), {"Conv2d": 2}),
    "a layer with and without its batch norm": (
        after(before_and_after_norm, conv=nn.Conv2d(6, 6, 3, padding=1), norm=nn.BatchNorm2d(6), neuron=Hard()),
        {"Conv2d": 3},
    ),
}


@pytest.mark.parametrize("name", BUILDING_BLOCKS)
def test_each_building_block_gives_the_same_spikes_and_logits(exported, name):
    model, kinds = BUILDING_BLOCKS[name]
    result = exported(model, (2, 8, 8))
    assert result.spikes.differ == 0
    assert result.spikes.spikes > result.spikes.compared / 100
    assert result.predictions.largest_difference < 1e-5
    written = Counter(type(node).__name__ for node in result.graph.nodes.values())
    assert {kind: written[kind] for kind in kinds} == kinds


def basic(neuron):
    head = nn.Sequential(nn.Linear(8, 6), neuron(), nn.Linear(6, 5))
    return ResNet([1, 1], [4, 8], 2, neuron, head)


def spike_element_wise(neuron, block=SEWBlock):
    blocks = [block(4, 8, 2, neuron), block(8, 8, 1, neuron), block(8, 8, 1, neuron)]
    stem = [nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), neuron()]
    return nn.Sequential(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))


FAMILIES = {
    "convnet": lambda neuron: convnet(num_classes=5, in_channels=2, neuron=neuron),
    "resnet": basic,
    "sew": spike_element_wise,
    "preact": partial(spike_element_wise, block=PreActBlock),
}


@pytest.mark.parametrize(("family", "decay"), [("convnet", 0.2), ("resnet", 0.5), ("sew", 0.2), ("preact", 1.0)])
def test_spikingjelly_reads_every_family_and_predicts_the_same(exported, tmp_path, family, decay):
    result = exported(FAMILIES[family](partial(Hard, decay=decay)), (2, 8, 8))
    assert result.spikes.differ == 0
    read = import_from_nir(tmp_path / "net.nir", dt=1e-4)
    state, steps = None, []
    with torch.no_grad():
        for _ in result.logits:
            logits, state = read(result.images, state)
            steps.append(logits)
    assert torch.allclose(torch.stack(steps), result.logits, atol=1e-4)
    assert result.logits.std() > 1e-3


def test_spikingjelly_does_not_read_max_pooling_of_spikes(exported, tmp_path):
    exported(BUILDING_BLOCKS["max pooling of spikes"][0], (2, 8, 8))
    with pytest.raises(ValueError, match="Threshold"):
        import_from_nir(tmp_path / "net.nir", dt=1e-4)


@pytest.mark.parametrize("by", ["layer", "channel"])
def test_learnt_decays_and_thresholds_are_those_of_the_nodes(exported, by):
    learning = Hard(decay=0.6, learn=["decay", "threshold"], learn_by=by)
    model = Net(conv=nn.Conv2d(6, 6, 3, padding=1), neuron=learning)
    learning(torch.zeros(1, 6, 8, 8))
    learning.reset()
    with torch.no_grad():
        for number, parameter in enumerate(learning.parameters(), start=1):
            parameter.sub_(torch.linspace(0.1 * number, 0.5, parameter.numel()).view(parameter.shape))
    result = exported(model, (2, 8, 8))
    assert result.spikes.differ == 0 and result.spikes.spikes > result.spikes.compared / 100
    node = result.graph.nodes["neuron"]
    for values, expected in ((1 - 1e-4 / node.tau, learning.decay), (node.v_threshold, learning.threshold)):
        by_channel = torch.as_tensor(values[:, 0, 0]).float()
        assert torch.allclose(by_channel, expected.detach().expand(6), atol=1e-6)


@pytest.mark.parametrize(("decay", "v_reset"), [(0.5, 0.0), (0.75, -0.5), (1.0, 0.0)])
def test_membranes_that_stand_on_the_threshold_fire_as_they_do_in_the_network(decay, v_reset):
    """All numbers are fractions that float32 holds exactly, so that nothing is rounded and many membranes are 1."""
    dt = 2.0**-12
    norm = nn.BatchNorm2d(4, eps=0.0)
    norm.running_var.fill_(4.0)
    norm.running_mean.fill_(0.5)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), norm, LIF(decay, 1.0, "hard", v_reset), nn.Flatten(), nn.Linear(144, 3))
    torch.manual_seed(0)
    for weight in model[0].parameters():
        weight.data = torch.randint(-2, 4, weight.shape) / 2
    model.eval()
    images = torch.randint(-1, 2, (8, 1, 8, 8)) / 2
    operations = walk(model, (1, 8, 8))
    written = to_graph(operations, NumberFormat(dt, np.float32))
    assert check_spikes(model, to_graph(operations, NumberFormat(dt, np.float64)), images, 5, dt).differ == 0
    found = execute(written.graph, images.expand(5, *images.shape), dt)
    assert found.output.sub(predict(model, images, 5)).abs().max() < 1e-5
    (name,) = written.neurons.values()
    node = written.graph.nodes[name]
    node.v_threshold = np.nextafter(node.v_threshold, np.float32(2.0))
    assert node.v_threshold.max() == 1.0
    strict = execute(written.graph, images.expand(5, *images.shape), dt)
    assert not strict.spikes[name].equal(found.spikes[name])


def test_a_soft_reset_is_refused_and_on_request_in_the_metadata(exported):
    soft = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), LIF(decay=0.6), nn.Flatten(), nn.Linear(216, 20), LIF(decay=1.0)
    )
    with pytest.raises(ExportError, match=r"layer 2: its reset is soft.*neuron\.reset=hard"):
        exported(soft, (2, 8, 8))
    result = exported(soft, (2, 8, 8), soft_reset_as_metadata=True)
    assert result.spikes.differ == 0
    assert result.predictions.largest_difference < 1e-5
    neurons = [node for node in result.graph.nodes.values() if isinstance(node, (nir.LIF, nir.IF))]
    assert [node.metadata for node in neurons] == [{"reset": "subtract_threshold"}] * 2
    for node in neurons:
        node.metadata = {}
    changed = execute(result.graph, result.images.expand(4, *result.images.shape), 1e-4).output
    assert (changed - result.logits).abs().max() > 0.1  # a program that does not look there runs another network


def mix(left, right):
    """An operation of its author's own, registered as "numbers"."""
    if torch.overrides.has_torch_function((left, right)):
        return torch.overrides.handle_torch_function(mix, (left, right), left, right)
    return left + 2 * right


@pytest.fixture
def own_operation(monkeypatch):
    monkeypatch.setattr(rule_table, "OWN_RULES", {})
    register_rule("mix", "numbers")


@pytest.mark.parametrize("other", [lambda x: torch.full((8,), 3.0), lambda x: x], ids=["a constant", "itself"])
def test_an_elementwise_operation_of_ones_own_is_refused(exported, own_operation, other):
    with pytest.raises(ExportError, match="the network: 'mix' has no node in NIR"):
        exported(after(lambda net, x: mix(x, other(x))), (2, 8, 8))


REFUSED = {
    "max pooling of means": (Net(a=nn.AvgPool2d(2), b=nn.MaxPool2d(2)), "layer b: NIR has no max pooling"),
    "max pooling, ceil_mode": (Net(pool=nn.MaxPool2d(3, 2, ceil_mode=True)), "layer pool: .*ceil_mode"),
    "kernel": (Net(conv=nn.Conv2d(6, 6, (3, 1))), "layer conv: a kernel of 3×1"),
    "average": (Net(pool=nn.AvgPool2d(3, 2, ceil_mode=True)), "layer pool: .*no ceil_mode"),
    "statistics": (Net(norm=nn.BatchNorm2d(6, track_running_stats=False)), "layer norm: .*running statistics"),
    "uneven pooling": (
        Net(inside=150, pool=nn.AdaptiveAvgPool2d(5), n=Hard()),
        "layer pool: it averages 8×8 to 5×5",
    ),
    "decay": (Net(conv=nn.Conv2d(6, 6, 3, padding=1), n=Hard(decay=0.0)), r"layer n: neuron\.decay = 0"),
    "batch norm alone": (Net(norm=nn.BatchNorm2d(6), n=Hard()), "layer norm: .*directly before it"),
    "the same twice": (after(twice, neuron=Hard()), "the network: it adds the same values twice"),
    "a difference": (after(lambda net, x: x - net.c(x), c=nn.Conv2d(6, 6, 1)), "the network: 'sub' has no node"),
    "constant": (after(lambda net, x: x + 1.0), "the network: 'add' with a constant"),
    "broadcast": (after(lambda net, x: x + x.mean((2, 3), keepdim=True)), "the network: 'add' of different shapes"),
    "index": (after(lambda net, x: x[:, :3]), "the network: indexing"),
    "sum over space": (after(lambda net, x: x.sum((2, 3))), "the network: 'sum' has no node"),
    "conv1d": (after(lambda net, x: net.c(x.flatten(2)), c=nn.Conv1d(6, 6, 3)), "the network: 'flatten'|flattening"),
    "own neuron": (Net(n=OwnLIF()), "layer n: OwnLIF is a neuron of its author's own, which has no node in NIR"),
    "linear over width": (Net(linear=nn.Linear(8, 8)), "layer linear: a linear layer on"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_nir_has_no_node_for_is_refused_with_the_layer_and_the_reason(exported, name):
    model, reason = REFUSED[name]
    with pytest.raises(ExportError, match=reason):
        exported(model, (2, 8, 8))


def test_a_graph_that_is_another_network_does_not_pass_the_check(exported):
    model = Net(conv=nn.Conv2d(6, 6, 3, padding=1), norm=nn.BatchNorm2d(6), neuron=Hard())
    result = exported(model, (2, 8, 8))
    written = to_graph(result.operations, NumberFormat(1e-4, np.float64))
    assert check_spikes(model, written, result.images, 4, 1e-4) == result.spikes
    written.graph.nodes[written.neurons[1]].tau *= 1.2
    with pytest.raises(ExportError, match="the graph differs from the network in"):
        check_spikes(model, written, result.images, 4, 1e-4)


def test_logits_are_compared_where_all_spikes_are_the_same(exported):
    """Images in which a neuron fires too early are left out, and the others are compared."""
    model = Net(inside=6 * 32 * 32)
    result = exported(model, (2, 32, 32))
    written = to_graph(result.operations, NumberFormat(1e-4, np.float64))
    (name,) = written.neurons.values()
    fired = execute(written.graph, result.images[None].double(), 1e-4).spikes[name][0]
    neuron = tuple((fired.any(0) & ~fired.all(0)).nonzero()[0].tolist())
    silent = int((~fired[(slice(None), *neuron)]).nonzero()[0])
    written.graph.nodes[name].v_threshold[neuron] = -1e9
    check = check_spikes(model, written, result.images, 1, 1e-4)
    assert 0 < check.differ < len(result.images)
    with pytest.raises(ExportError, match="no logits can be compared"):
        check_spikes(model, written, result.images[[silent]], 1, 1e-4)
    written.graph.nodes["head"].weight *= 1.001
    with pytest.raises(ExportError, match="the graph's logits differ"):
        check_spikes(model, written, result.images, 1, 1e-4)


def test_frames_are_compared_timestep_by_timestep(exported):
    model = Net(conv=nn.Conv2d(6, 6, 3, padding=1), norm=nn.BatchNorm2d(6), neuron=Hard())
    written = to_graph(exported(model, (2, 8, 8)).operations, NumberFormat(1e-4, np.float64))
    frames = torch.randn(3, 4, 2, 8, 8)
    assert check_spikes(model, written, frames, 3, 1e-4).differ == 0
    found = check_predictions(predict(model, frames, 3), written.graph, frames, 1e-4)
    assert (found.images, found.same) == (4, 4)
    assert check_predictions(predict(model, frames.flip(0), 3), written.graph, frames, 1e-4).largest_difference > 1e-3


def documented():
    """Whether docs/export.md says that a bundled network can be written, and read by SpikingJelly ("" for untried)."""
    page = (Path(__file__).parents[3] / "docs/export.md").read_text()
    rows = re.findall(r"^\| (`.*`) \| (yes|no).*? \| (yes|no\b|)", page, re.MULTILINE)
    return {name: answers for names, *answers in rows for name in re.findall("`([a-z0-9_]+)`", names)}


@pytest.mark.parametrize("name", MODELS)
def test_every_bundled_network_is_written_or_refused_as_documented(name):
    shape = {"vggsnn_dvs": (2, 48, 48), "sew_resnet34": (3, 224, 224), "preact_resnet34": (3, 224, 224)}.get(
        name, (3, 32, 32)
    )
    with torch.device("meta"):
        model = create_model(name, num_classes=10, in_channels=shape[0], reset="hard").eval()
    written, read = documented()[name]
    if written == "no":
        with pytest.raises(ExportError, match=r"NIR has no max pooling|(attn|\.q\.1): .* has no node in NIR"):
            walk(model, shape)
        return
    operations = walk(model, shape)
    folded = [kind for one in operations if isinstance(one, LinearMap) for kind in one.folded]
    assert folded.count("batch norm") == sum(isinstance(module, nn.BatchNorm2d) for module in model.modules())
    assert not any(isinstance(operation, AdaptivePool) for operation in operations)
    assert read in ("", "no" if any(isinstance(operation, AnySpike) for operation in operations) else "yes")


@settings(max_examples=20)
@given(side=st.integers(1, 12), rows=st.integers(1, 14), columns=st.integers(1, 14), seed=st.integers(0, 9))
def test_an_adaptive_pooling_of_any_size_is_the_same_folded_or_written(side, rows, columns, seed):
    torch.manual_seed(seed)
    model = nn.Sequential(nn.AdaptiveAvgPool2d((rows, columns)), nn.Flatten(), nn.Linear(2 * rows * columns, 3))
    images = torch.randn(2, 2, side, side + 1, dtype=torch.float64)
    graph = to_graph(walk(model, (2, side, side + 1)), NumberFormat(1e-4, np.float64)).graph
    found = execute(graph, images[None], 1e-4).output[0]
    pooled = F.adaptive_avg_pool2d(images, (rows, columns)).flatten(1)
    expected = F.linear(pooled, *(parameter.double() for parameter in model[2].parameters()))
    assert torch.allclose(found, expected, atol=1e-10)
    assert math.prod(found.shape) == 6
