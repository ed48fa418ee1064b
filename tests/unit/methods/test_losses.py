"""The losses against their formulas, the gradients of each method with each in plain torch, and losses of ones own."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from rbp_engine.errors import OwnCodeError
from rbp_engine.methods import METHODS, Loss, create_method
from rbp_engine.methods.loss import Objective
from rbp_engine.train.optimisation import create_optimizer
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.trainer import evaluate
from rbp_engine.vocabulary import RATE_METHODS
from tests.fuzz.networks import FIRE, Network, Neuron, Node
from tests.fuzz.oracles import ORACLES, SingleStep, Traced

T, B, C = 4, 5, 3
HARD = torch.tensor([0, 1, 2, 0, 1])
SOFT = torch.softmax(torch.randn(B, C, generator=torch.Generator().manual_seed(9), dtype=torch.float64), 1)
LOSSES = {
    "ce": Loss(),
    "ce, smoothed": Loss(label_smoothing=0.2),
    "mse": Loss("mse"),
    "mse, smoothed": Loss("mse", label_smoothing=0.3),
    "tet": Loss("tet"),
    "tet, smoothed, with squared error": Loss("tet", label_smoothing=0.1, mse_weight=0.3, mse_target=0.7),
}
CASES = [(m, name) for m in METHODS for name, loss in LOSSES.items() if m not in RATE_METHODS or not loss.at_every_step]


def by_formula(loss, logits, labels):
    """One output [B, C], of the mean or of a timestep."""
    probabilities = torch.eye(C, dtype=logits.dtype)[labels] if labels.ndim == 1 else labels
    targets = (1 - loss.label_smoothing) * probabilities + loss.label_smoothing / C
    if loss.name == "mse":
        return ((logits - targets) ** 2).sum() / (B * C)
    entropy = -(targets * (logits - logits.exp().sum(1, keepdim=True).log())).sum() / B
    distance = ((logits - loss.mse_target) ** 2).sum() / (B * C)
    return (1 - loss.mse_weight) * entropy + loss.mse_weight * distance


def of_sequence(loss, logits, labels):
    if loss.name == "tet":
        return sum(by_formula(loss, step, labels) for step in logits) / len(logits)
    return by_formula(loss, logits.mean(0), labels)


@pytest.mark.parametrize("labels", [HARD, SOFT], ids=["classes", "probabilities"])
@pytest.mark.parametrize("name", LOSSES)
def test_values_and_gradients_are_those_of_the_formulas(name, labels):
    loss = LOSSES[name]
    steps = torch.randn(T, B, C, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    found = Objective(loss, labels).of_steps(steps) if loss.at_every_step else loss(steps.mean(0), labels)
    expected = of_sequence(loss, steps, labels)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    pair = [torch.autograd.grad(value, steps)[0] for value in (found, expected)]
    torch.testing.assert_close(*pair, rtol=1e-12, atol=1e-14)


def network():
    torch.manual_seed(0)
    model, neuron = Network(), {"decay": 0.5, "threshold": 0.7, "surrogate_args": {"alpha": 3.0}}
    for place, layer in enumerate(
        (nn.Linear(6, 8), Neuron(**neuron), nn.Linear(8, 7), Neuron(**neuron), nn.Linear(7, C))
    ):
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0.2, 0.7)
        model.layers.append(layer)
        model.nodes.append(Node("linear" if isinstance(layer, nn.Linear) else FIRE, place, (place,)))
    return model.double()


def images():
    return torch.randn(B, 6, generator=torch.Generator().manual_seed(2), dtype=torch.float64)


def outputs(model, method):
    """Logits [T, B, C] of plain torch whose graph is that of the method; for the rate methods, [1, B, C]."""
    if method in RATE_METHODS:
        return ORACLES[method](model, [images()] * T, HARD)[1].unsqueeze(0)
    if method == "ottt":
        traced = Traced(model)
        return torch.stack([traced((images(), None))[-1][0] for _ in range(T)])
    walk = SingleStep(model, through_time=method != "sltt")
    return torch.stack([walk(images())[-1] for _ in range(T)])


@pytest.mark.parametrize(("method", "name"), CASES)
def test_each_method_has_the_gradient_of_each_loss(method, name):
    loss, labels = LOSSES[name], SOFT
    settings = {"loss_scale": "1"} if method in RATE_METHODS else {}
    model, oracle = network(), network()
    out = create_method(method, T, loss=loss, **settings).step(model, images(), labels, 0.5)
    steps = outputs(oracle, method)
    reported = of_sequence(loss, steps.detach(), labels)
    # The online methods minimise the mean of the loss of each step, and report that of the mean output.
    online = method in ("sltt", "ottt")
    minimised = (
        sum(by_formula(loss, step, labels) for step in steps) / T if online else of_sequence(loss, steps, labels)
    )
    (0.5 * minimised).backward()
    torch.testing.assert_close(out.loss, reported, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(out.logits, steps.detach().mean(0), rtol=1e-10, atol=1e-10)
    for (key, found), expected in zip(model.named_parameters(), oracle.parameters(), strict=True):
        assert expected.grad.abs().max() > 1e-5, key
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-10, atol=1e-12, msg=lambda m, k=key: f"{k}: {m}")


@pytest.mark.parametrize("method", RATE_METHODS)
def test_the_loss_scale_1_gives_t_times_the_gradient_of_1_over_t_and_the_same_loss(method):
    models = network(), network(), network()
    whole, divided, default = (
        create_method(method, T, **settings).step(model, images(), HARD)
        for model, settings in zip(models, ({"loss_scale": "1"}, {"loss_scale": "1/T"}, {}), strict=True)
    )
    assert torch.equal(whole.loss, divided.loss) and torch.equal(default.loss, divided.loss)
    for one, part, same in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(one.grad, T * part.grad, rtol=1e-12, atol=1e-14)
        assert torch.equal(same.grad, part.grad) and part.grad.any()


@pytest.mark.parametrize("method", RATE_METHODS)
def test_sgd_on_1_over_t_takes_the_steps_of_1_at_lr_over_t_and_t_times_the_weight_decay(method):
    def trained(scale, lr, weight_decay):
        model = network()
        optimizer = create_optimizer(model, "sgd", lr=lr, momentum=0.9, weight_decay=weight_decay)
        for _ in range(6):
            optimizer.zero_grad()
            create_method(method, T, loss_scale=scale).step(model, images(), HARD)
            optimizer.step()
        return torch.cat([weight.detach().flatten() for weight in model.parameters()])

    lr, weight_decay = 0.3, 0.05
    divided = trained("1/T", lr, weight_decay)
    torch.testing.assert_close(divided, trained("1", lr / T, T * weight_decay), rtol=1e-12, atol=1e-13)
    for other in (lr, weight_decay), (lr / T, weight_decay), (lr, T * weight_decay):
        assert (trained("1", *other) - divided).abs().max() > 1e-3, other


@pytest.mark.parametrize("method", RATE_METHODS)
def test_rate_methods_refuse_a_loss_at_every_step_and_say_why(method):
    with pytest.raises(ValueError, match=rf"'tet'.*{method} has the mean output only.*'ce' or 'mse'.*bptt"):
        create_method(method, T, loss=Loss("tet"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "hinge"}, "'hinge': one of ce, tet, mse"),
        ({"label_smoothing": 1.0}, "label_smoothing is from 0 to less than 1, got 1.0"),
        ({"label_smoothing": math.nan}, "got nan"),
        ({"name": "tet", "mse_weight": 1.5}, "mse_weight is from 0 to 1, got 1.5"),
        ({"mse_weight": 0.1}, "for the loss 'tet', and this is 'ce'"),
    ],
)
def test_settings_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Loss(**settings)


def test_low_precision_outputs_have_a_loss_in_float32():
    logits = torch.randn(T, B, C, generator=torch.Generator().manual_seed(1)).bfloat16()
    for loss in LOSSES.values():
        found = Objective(loss, HARD).of_steps(logits) if loss.at_every_step else loss(logits[0], HARD)
        assert found.dtype == torch.float32 and found.isfinite()


class Split(list):
    """The batches of an evaluation."""

    split = "test"


@pytest.mark.parametrize("name", LOSSES)
def test_an_evaluation_has_the_cross_entropy_of_the_mean_output_whatever_is_minimised(name):
    model, method = network(), create_method("bptt", T, loss=LOSSES[name])
    step = SimpleNamespace(state=SimpleNamespace(model=model, method=method), time=None)
    recorder = SimpleNamespace(ranks=Ranks(), journal=SimpleNamespace(progress=lambda: None))
    found = evaluate(step, Split([(images()[:2], HARD[:2]), (images()[2:], HARD[2:])]), None, recorder)
    logits = method.predict(model, images()).mean(0)
    assert found["loss"] == pytest.approx(nn.functional.cross_entropy(logits, HARD).item(), rel=1e-9)


def entropy(logits, labels):
    return nn.functional.cross_entropy(logits, labels)


@pytest.mark.parametrize(("method", "labels"), [*((method, HARD) for method in METHODS), ("rate_m", SOFT)])
def test_a_function_that_is_cross_entropy_has_the_bits_of_cross_entropy(method, labels):
    found = []
    for loss in (entropy, Loss()):
        model = network()
        out = create_method(method, T, loss=loss).step(model, images(), labels, 0.5)
        found.append([out.loss, out.logits, *(weight.grad for weight in model.parameters())])
    assert all(torch.equal(mine, theirs) for mine, theirs in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda logits, labels: 1.0, "returned float: it must return a tensor"),
        (lambda logits, labels: logits.mean(0), r"returned the shape \[3\]: it must be one number, the mean"),
        (lambda logits, labels: logits.argmax(1).sum(), "returned torch.int64: it must be floating point"),
        (lambda logits, labels: logits.detach().sum(), "has no gradient: compute it from the logits"),
        (lambda logits, labels: (logits * torch.nan).sum(), "is nan for the first batch"),
    ],
    ids=["a number", "a vector", "an integer", "detached", "nan"],
)
def test_a_result_that_cannot_be_minimised_is_an_error(loss, message):
    with pytest.raises(OwnCodeError, match=rf"the loss <lambda> {message}"):
        create_method("rate_m", T, loss=loss).step(network(), images(), HARD)


def test_a_loss_that_becomes_infinite_later_is_left_to_the_caller():
    """A run counts on the step's loss and gradients, and must not wait for the device at each step."""
    scale = torch.ones(())
    method = create_method("rate_m", T, loss=lambda logits, labels: logits.sum() * scale)
    method.step(network(), images(), HARD)
    scale.fill_(torch.inf)
    assert not method.step(network(), images(), HARD).loss.isfinite()


def test_what_is_no_function_is_refused():
    with pytest.raises(TypeError, match="a loss is a Loss or a function of logits and labels, got str"):
        create_method("bptt", T, loss="ce")
