"""Branches on firing rates: loss and gradients against a plain computation, and which modules can have one."""

import math

import pytest
import torch
from torch import nn

from rbp_engine.errors import SettingsError
from rbp_engine.methods import Distillation, Loss, SelfDistillation, create_method, with_branches
from rbp_engine.methods.loss import Objective
from rbp_engine.vocabulary import RATE_METHODS
from tests.fuzz.networks import Neuron
from tests.fuzz.oracles import Membrane, slopes_of_rate

B, C = 6, 5
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
WEIGHT, DISTILL, TEMPERATURE = 0.7, 0.4, 2.5
SETTINGS = SelfDistillation(WEIGHT, DISTILL, TEMPERATURE)
METHODS = ("rate_m", "rate_s", "bptt")
STEPWISE = ("bptt_s", "sltt", "ottt")


def lif():
    return Neuron(decay=0.4, threshold=0.6, surrogate_args={"alpha": 3.0})


def dense():
    torch.manual_seed(0)
    return with_larger_weights(nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, C))


def tokens():
    """[B, 9, 6]: the mean over a branch's second block is over 3 tokens."""
    torch.manual_seed(0)
    return with_larger_weights(nn.Linear(6, 7), nn.Linear(7, 8), nn.Linear(72, C))


def convolutional():
    """[B, 2, 9, 7]: the branch behind the first layer has two blocks, and that behind the second one."""
    torch.manual_seed(1)
    return with_larger_weights(nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 3, 3, 2, 1), nn.Linear(3 * 5 * 4, C))


def with_larger_weights(first, second, last):
    for layer in (first, second, last):
        nn.init.normal_(layer.weight, 0.1, 0.7)
    return nn.Sequential(first, lif(), second, lif(), nn.Flatten(), last).double()


NETWORKS = {"dense": (dense, (6,)), "tokens": (tokens, (9, 6)), "convolutional": (convolutional, (2, 9, 7))}


def images(*shape):
    return 2 * torch.rand(B, *(shape or (6,)), generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def branched(model, paths, x, settings=SETTINGS, time=False):
    torch.manual_seed(3)
    found = with_branches(model, paths, settings, x, time=time)
    for branch in found.branches:
        nn.init.normal_(branch.classes.weight, 0.0, 1.0)
        for norm in (module for module in branch.modules() if "BatchNorm" in type(module).__name__):
            nn.init.uniform_(norm.weight, 0.5, 1.5)
            nn.init.normal_(norm.bias, 0.0, 0.3)
    return found


def by_sample(outputs, labels):
    """The loss of outputs [B, C], the network's own last: one sample, and one output, after the other."""
    total = torch.zeros((), dtype=torch.float64)
    for b in range(len(labels)):
        y = int(labels[b])
        right = [output[b].detach() for output in outputs if int(output[b].argmax()) == y]
        for output in outputs:
            total = total - WEIGHT * (output[b, y] - output[b].exp().sum().log())
            if right:
                teacher = sum(right) / len(right)
                p = (teacher / TEMPERATURE).exp() / (teacher / TEMPERATURE).exp().sum()
                q = (output[b] / TEMPERATURE).exp() / (output[b] / TEMPERATURE).exp().sum()
                total = total + DISTILL * TEMPERATURE**2 * sum(p[c] * (p[c].log() - q[c].log()) for c in range(C))
    return total / len(labels)


def normalised(x, weight, bias):
    """Batch norm with the statistics of the batch; ε is torch's."""
    shape = (1, -1, *[1] * (x.ndim - 2))
    over = [0, *range(2, x.ndim)]
    centred = x - x.mean(over, keepdim=True)
    deviation = (centred.square().mean(over, keepdim=True) + 1e-5).sqrt()
    return centred / deviation * weight.view(shape) + bias.view(shape)


def in_plain_torch(branch, rates):
    """A branch by its weights alone."""
    x = rates.unsqueeze(2) if rates.ndim == 2 else rates.transpose(1, 2) if rates.ndim == 3 else rates
    convolve = nn.functional.conv1d if x.ndim == 3 else nn.functional.conv2d
    at = dict(branch.named_parameters())
    block = 0
    while f"blocks.{block}.body.0.weight" in at:
        body, shortcut = f"blocks.{block}.body", f"blocks.{block}.shortcut"
        out = x
        for first, stride in ((0, 2), (4, 1)):
            out = convolve(out, at[f"{body}.{first}.weight"], None, stride, 1, 1, out.shape[1])
            out = convolve(out, at[f"{body}.{first + 1}.weight"])
            out = normalised(out, at[f"{body}.{first + 2}.weight"], at[f"{body}.{first + 2}.bias"])
            out = out.clamp(min=0) if first == 0 else out
        beside = convolve(x, at[f"{shortcut}.0.weight"], None, 2)
        x = (out + normalised(beside, at[f"{shortcut}.1.weight"], at[f"{shortcut}.1.bias"])).clamp(min=0)
        block += 1
    return x.flatten(2).mean(2) @ at["classes.weight"].T + at["classes.bias"]


def steps_of_lif(neuron, currents):
    """The spikes of each timestep with the graph of BPTT, and the eligibility of the rate."""
    membrane = Membrane(neuron, [])
    return [membrane(current) for current in currents], slopes_of_rate(neuron, currents)[0]


def plain_outputs(method, model, x, timesteps):
    """The outputs of branches on both neuron layers and of the network, with the graph of the method."""
    network, branches = model.network, model.branches
    first, g1 = steps_of_lif(network[1], [network[0](x)] * timesteps)
    second, g2 = steps_of_lif(network[3], [network[2](s) for s in first])
    r1, r2 = sum(first) / timesteps, sum(second) / timesteps
    if method in RATE_METHODS:
        c1 = network[0](x)
        r1 = r1.detach() + g1 * (c1 - c1.detach())
        c2 = network[2](r1)
        r2 = r2.detach() + g2 * (c2 - c2.detach())
    return [in_plain_torch(branches[0], r1), in_plain_torch(branches[1], r2), network[5](r2.flatten(1))]


def labels_that_differ(outputs):
    """Labels for which no output is right of the first sample, and one or more of the others."""
    classes = torch.stack(outputs).argmax(2)
    wrong = next(c for c in range(C) if c not in classes[:, 0])
    labels = torch.tensor([wrong, *(int(classes[b % len(outputs), b]) for b in range(1, B))])
    right = (classes == labels).sum(0).tolist()
    assert right[0] == 0 and 1 in right
    return labels


@pytest.mark.parametrize(("timesteps", "reference"), [(1, False), (5, False), (5, True)])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradients_are_those_of_a_plain_computation_and_the_loss_is_the_networks_own(
    name, method, timesteps, reference
):
    """Divided by T once, in the rate methods."""
    make, shape = NETWORKS[name]
    x = images(*shape)
    mine, plain = branched(make(), ["1", "3"], x), branched(make(), ["1", "3"], x)
    outputs = plain_outputs(method, plain, x, timesteps)
    labels = labels_that_differ(outputs)
    (by_sample(outputs, labels) / (timesteps if method in RATE_METHODS else 1)).backward()
    out = create_method(method, timesteps, reference=reference).step(mine, x, labels, time=False)
    own = -torch.log_softmax(outputs[-1], 1)[torch.arange(B), labels].mean()
    torch.testing.assert_close(out.loss, own.detach(), rtol=1e-11, atol=0)
    torch.testing.assert_close(out.logits, outputs[-1].detach(), rtol=1e-11, atol=1e-12)
    for (key, ours), theirs in zip(mine.named_parameters(), plain.parameters(), strict=True):
        assert theirs.grad is not None and theirs.grad.abs().max() > 1e-5, key
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-11, msg=lambda m, k=key: f"{k}: {m}")


def drawn(count=3, seed=4):
    draw = torch.Generator().manual_seed(seed)
    return [torch.randn(B, C, generator=draw, dtype=torch.float64).requires_grad_() for _ in range(count)]


def minimised(settings, outputs, objective):
    *branches, own = outputs
    return settings(branches, objective, objective(own), own)


def test_of_mixed_labels_the_larger_share_decides_which_output_is_right():
    outputs = drawn()
    hard = labels_that_differ(outputs)
    mixed = 0.7 * torch.eye(C, dtype=torch.float64)[hard] + 0.3 * torch.eye(C, dtype=torch.float64)[(hard + 1) % C]

    def taught(labels):
        found = minimised(SETTINGS, outputs, Objective(Loss(), labels))
        return found - WEIGHT * sum(nn.functional.cross_entropy(output, labels) for output in outputs)

    torch.testing.assert_close(taught(mixed), taught(hard))


def test_another_teacher_has_its_share_in_the_loss_of_every_output():
    outputs, targets = drawn(), drawn(1, seed=5)[0]
    labels = labels_that_differ(outputs)
    distill = Distillation(lambda x: targets, 0.6, 2.0)
    objective = Objective(Loss(), labels, distill, distill.targets(images()))
    share = sum(objective(output) - nn.functional.cross_entropy(output, labels) for output in outputs)
    torch.testing.assert_close(minimised(SETTINGS, outputs, objective), by_sample(outputs, labels) + WEIGHT * share)


def test_branches_have_the_loss_of_ones_own():
    x, alone = images(), SelfDistillation(WEIGHT, 0.0)
    mine, plain = branched(dense(), ["1", "3"], x, alone), branched(dense(), ["1", "3"], x, alone)
    out = create_method("bptt", 2, loss=lambda logits, labels: logits.square().mean()).step(mine, x, LABELS)
    torch.testing.assert_close(out.loss, out.logits.square().mean())
    (WEIGHT * sum(output.square().mean() for output in plain_outputs("bptt", plain, x, 2))).backward()
    for ours, theirs in zip(mine.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_branches_leave_the_network_and_its_evaluation_to_the_last_bit(method):
    x = images(2, 9, 7)
    alone, model = convolutional(), convolutional()
    with_them = branched(model, ["1", "3"], x)
    assert alone.state_dict().keys() == model.state_dict().keys()
    trained = create_method(method, 2)
    outs = [trained.step(network, x, LABELS) for network in (alone, with_them)]
    assert torch.equal(outs[0].loss, outs[1].loss) and torch.equal(outs[0].logits, outs[1].logits)
    assert not torch.equal(alone[0].weight.grad, model[0].weight.grad)
    assert not any(module._forward_hooks for module in model.modules())
    expected = trained.predict(alone, x)
    assert torch.equal(trained.predict(model, x), expected) and torch.equal(trained.predict(with_them, x), expected)


@pytest.mark.parametrize("paths", [["0"], ["1"], ["0", "1", "2", "3"]], ids=" ".join)
@pytest.mark.parametrize("events", [False, True], ids=["images", "events"])
def test_a_branch_may_be_on_what_comes_before_a_neuron(paths, events):
    """What is left to the next neuron, as a batch norm, is carried out for a branch, in both phases of rate_S."""
    torch.manual_seed(1)
    blocks = [nn.Conv2d(2, 4, 3, padding=1), nn.Sequential(nn.BatchNorm2d(4)), lif()]
    blocks += [nn.Conv2d(4, 4, 3), nn.Sequential(nn.BatchNorm2d(4), lif()), nn.Flatten(), nn.Linear(140, C)]
    model = nn.Sequential(*blocks).double()
    x = images(2, 9, 7) if not events else torch.stack([images(2, 9, 7), 1.0 - images(2, 9, 7)])
    for method in METHODS:
        found = branched(model, paths, x, time=events)
        create_method(method, 2).step(found, x, LABELS, time=events)
        assert all(weight.grad.abs().max() > 0 for weight in found.branches.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("method", METHODS)
def test_branches_are_computed_in_float32_in_every_precision(method, precision):
    model, x = convolutional().float(), images(2, 9, 7).float()
    found = branched(model, ["1", "3"], x)
    seen = []
    found.branches[0].classes.register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    create_method(method, 2, precision=precision).step(found, x, LABELS)
    assert seen == [torch.float32]
    assert all(weight.grad.dtype == torch.float32 and weight.grad.isfinite().all() for weight in found.parameters())


@pytest.mark.parametrize("method", STEPWISE)
def test_methods_whose_passes_are_of_one_timestep_are_refused(method):
    with pytest.raises(SettingsError, match=r"learn from means over time.*use rate_m, rate_s or bptt"):
        create_method(method, 2).step(branched(dense(), ["1"], images()), images(), LABELS)


def test_a_loss_at_every_step_is_refused_with_branches():
    model = branched(dense(), ["1"], images())
    with pytest.raises(ValueError, match=r"branches learn from means over time.*'tet'"):
        create_method("bptt", 2, loss=Loss("tet")).step(model, images(), LABELS)


@pytest.mark.parametrize(
    ("shape", "widths"),
    [
        ((64, 32, 32), [128, 256, 512]),
        ((256, 8, 8), [512]),
        ((700, 4, 3), [700]),
        ((196, 384), [512] * 6),
        ((10,), [20]),
        ((4, 6, 6, 6), [8]),
    ],
    ids=str,
)
def test_blocks_halve_the_map_to_4_at_most_and_double_the_channels_to_512_at_most(shape, widths):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.here, self.out = nn.Identity(), nn.Linear(math.prod(shape), 3)

        def forward(self, x):
            return self.out(self.here(x).flatten(1))

    (branch,) = with_branches(Flat(), ["here"], SETTINGS, torch.rand(2, *shape), time=False).branches
    assert [block.body[1].out_channels for block in branch.blocks] == widths
    assert branch.classes.in_features == widths[-1]
    assert branch(torch.rand(2, *shape)).shape == (2, 3)


class Odd(nn.Module):
    """Modules that can have no branch."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(6, 6)])
        self.fire, self.unused, self.pair = lif(), nn.Linear(6, 6), Pair()
        self.folded, self.out = Folded(), nn.Linear(6, C)

    def forward(self, x):
        return self.out(self.folded(self.pair(self.fire(self.fire(self.layers[0](x))))[0]).reshape(len(x), 6))


class Pair(nn.Module):
    def forward(self, x):
        return x, x


class Folded(nn.Module):
    def forward(self, x):
        return x.reshape(2 * len(x), 3)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("fier", "no module there. Did you mean 'fire'. Its parts: layers, fire"),
        ("", "no module there"),
        ("layers", "takes no part in a pass by itself"),
        ("unused", "takes no part in a pass by itself"),
        ("fire", "called more than once"),
        ("pair", "returns tuple for 2 images"),
        ("folded", r"returns \[4, 3\] for 2 images"),
    ],
)
def test_modules_that_can_have_no_branch_are_named(path, message):
    with pytest.raises(SettingsError, match=f"loss.branches names '{path}'.*{message}".replace("'. Its", r"'\? Its")):
        with_branches(Odd().double(), [path], SETTINGS, images())


def test_a_network_that_stops_calling_a_module_while_training_is_refused():
    class Fickle(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = nn.Linear(6, 6), nn.Linear(6, C)

        def forward(self, x):
            return self.out(x if self.training else self.layer(x))

    model = branched(Fickle().double(), ["layer"], images())
    with pytest.raises(SettingsError, match="takes no part"):
        create_method("bptt", 2).step(model, images(), LABELS)


@pytest.mark.parametrize("values", [(0.0, 1.0, 4.0), (1.0, -0.1, 4.0), (1.0, math.inf, 4.0), (1.0, 1.0, 0.0)])
def test_settings_out_of_range_are_refused(values):
    with pytest.raises(ValueError, match="α and τ are above 0 and β is 0 or more"):
        SelfDistillation(*values)


def test_the_size_of_a_branch_is_found_without_a_trace_in_the_network():
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), lif(), nn.Flatten(), nn.Linear(64, C)).double()
    model[0].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    with_branches(model, ["2"], SETTINGS, images(2, 6, 6))
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
