"""A method keeps no state: not after an error, not after a forward without a backward, not in the modules."""

import copy
import functools
import pickle
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.nn.utils import spectral_norm

from rbp_engine.methods import METHODS, create_method, protocol, reset_state
from rbp_engine.models import create_model
from rbp_engine.spiking import LIF, RateTensor, SequenceTensor
from rbp_engine.spiking.current import Current
from rbp_engine.vocabulary import RATE_METHODS

T, B = 3, 4
LABELS = torch.tensor([0, 1, 2, 0])
METHOD_NAMES = sorted(METHODS)


def network():
    torch.manual_seed(0)
    return create_model("convnet", num_classes=3, in_channels=2).double()


def layers(model, kind):
    return [module for module in model.modules() if isinstance(module, kind)]


def images(static=False):
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(T, B, 2, 8, 8, generator=generator, dtype=torch.float64)
    return x[0] if static else x


def gradients(model):
    return [parameter.grad.clone() for parameter in model.parameters()]


@functools.cache
def fresh_gradients(name):
    model = network()
    create_method(name, T).step(model, images(), LABELS)
    return gradients(model)


def equal(left, right):
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def fail(*_):
    raise RuntimeError("interrupted")


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_an_error_in_the_loss_or_the_backward_leaves_nothing_behind(name):
    model, method = network(), create_method(name, T)
    with pytest.raises(IndexError):
        method.step(model, images(), torch.tensor([0, 1, 2, 9]))
    check_nothing_is_left(model, method, name)
    handle = model[0].weight.register_hook(fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        method.step(model, images(), LABELS)
    handle.remove()
    check_nothing_is_left(model, method, name)


def check_nothing_is_left(model, method, name):
    assert torch.is_grad_enabled()
    model.zero_grad()
    method.step(model, images(), LABELS)
    assert equal(gradients(model), fresh_gradients(name))


PASSES = {"rate_m": 1, "bptt": 1, "rate_s": T + 1}


@pytest.mark.parametrize(
    ("name", "odd_pass"), [(name, step) for name in METHOD_NAMES for step in range(PASSES.get(name, T))]
)
def test_an_exception_of_a_layer_in_any_pass_leaves_nothing_behind(name, odd_pass):
    model, method, passes = network(), create_method(name, T), []

    def fail_later(*_):
        passes.append(None)
        if len(passes) == odd_pass + 1:
            fail()

    handle = layers(model, LIF)[1].register_forward_hook(fail_later)
    with pytest.raises(RuntimeError, match="interrupted"):
        method.step(model, images(), LABELS)
    handle.remove()
    # Batch norm has counted the T steps, not the rate pass.
    if PASSES.get(name, T) > 1:
        assert layers(model, nn.BatchNorm2d)[0].num_batches_tracked == min(odd_pass + 1, T)
    check_nothing_is_left(model, method, name)


# Methods share the prediction and the checks before a step.


def test_an_exception_in_predict_restores_the_modes_and_leaves_gradients_enabled():
    model, method = network(), create_method("rate_m", T)
    handle = model[-1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="interrupted"):
        method.predict(model, images())
    handle.remove()
    assert torch.is_grad_enabled()
    assert all(module.training for module in model.modules())


def forward_alone(model, name):
    model(SequenceTensor(Current.of(images())))
    model(RateTensor(Current.of(images(), images().mean(0))))


def steps_of_all(model, name):
    for method in METHOD_NAMES:
        create_method(method, T).step(model, images(static=True), LABELS)


BEFORE = {
    "a forward without a backward": forward_alone,
    "steps of all methods": steps_of_all,
    "a smaller batch": lambda model, name: create_method(name, T).step(model, images()[:, :2], LABELS[:2]),
    "a prediction": lambda model, name: create_method(name, T).predict(model, images(static=True)),
}


@pytest.mark.parametrize("before", BEFORE)
@pytest.mark.parametrize("name", METHOD_NAMES)
def test_whatever_came_before_a_step_has_the_gradients_of_a_new_network(name, before):
    model = network()
    BEFORE[before](model, name)
    model.zero_grad()
    create_method(name, T).step(model, images(), LABELS)
    assert equal(gradients(model), fresh_gradients(name))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_step_changes_no_weight_and_no_flag_and_leaves_no_membrane_and_no_hook(name):
    model = network()
    layers(model, nn.BatchNorm2d)[0].eval()
    modes = [module.training for module in model.modules()]
    before, weights = list(model.state_dict()), [parameter.clone() for parameter in model.parameters()]
    create_method(name, T).step(model, images(), LABELS)
    assert list(model.state_dict()) == before
    assert equal(model.parameters(), weights)
    assert [module.training for module in model.modules()] == modes
    for module in model.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks
        if isinstance(module, LIF):
            assert module.v is None


def test_predict_changes_neither_flags_nor_statistics_nor_gradients():
    model = network()
    model.train()
    for norm in layers(model, nn.BatchNorm2d)[:2]:
        norm.eval()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    assert set(modes) == {True, False}
    logits = create_method("rate_m", T).predict(model, images())
    assert [module.training for module in model.modules()] == modes
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert all((parameter.grad == 0.5).all() for parameter in model.parameters())
    assert not logits.requires_grad
    assert torch.is_grad_enabled()


def test_threads_that_predict_leave_the_model_and_torch_as_one_does():
    model, method, alone = network(), create_method("rate_m", T), network()
    expected = method.predict(alone, images())
    before = torch._dynamo.eval_frame._stance
    with ThreadPoolExecutor(4) as pool:
        for found in [pool.submit(method.predict, model, images()) for _ in range(8)]:
            assert torch.equal(found.result(), expected)
    assert all(module.training for module in model.modules())
    assert torch._dynamo.eval_frame._stance == before


@pytest.mark.parametrize(("what", "labels"), [("step", (LABELS,)), ("predict", ())])
def test_no_thread_resets_the_model_while_another_runs_it(what, labels):
    def may_enter():
        if entered := protocol._ONE_THREAD.acquire(blocking=False):
            protocol._ONE_THREAD.release()
        return entered

    class Watched(LIF):
        def reset(self):
            with ThreadPoolExecutor(1) as other:
                free.append(other.submit(may_enter).result())
            super().reset()

    free = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(2 * 8 * 8, 5), Watched(), nn.Linear(5, 3)).double()
    getattr(create_method("rate_m", T), what)(model, images(), *labels)
    assert free and not any(free)


@pytest.mark.parametrize(("what", "labels"), [("step", (LABELS,)), ("predict", ())])
def test_a_model_whose_batch_would_be_divided_among_gpus_is_refused_with_what_to_do(what, labels):
    for model in (nn.DataParallel(network()), nn.Sequential(nn.DataParallel(network()))):
        with pytest.raises(TypeError, match=r"DataParallel.*--nproc"):
            getattr(create_method("bptt", T), what)(model, images(), *labels)


def test_a_call_is_a_timestep_and_reset_state_puts_neurons_to_rest_and_calls_no_other_reset():
    """timm's heads have a `reset(num_classes)`, which makes a new layer."""

    class Head(nn.Linear):
        def reset(self, num_classes):
            raise AssertionError("called")

    torch.manual_seed(2)
    model = nn.Sequential(nn.Linear(4, 5), LIF(0.9, 0.2), Head(5, 3))
    first, second = model(torch.ones(2, 4)), model(torch.ones(2, 4))
    assert not torch.equal(second, first)
    reset_state(model)
    assert torch.equal(model(torch.ones(2, 4)), first)
    by_step = create_method("bptt", 2).predict(model, torch.ones(2, 4))
    torch.testing.assert_close(by_step, torch.stack([first, second]))


@pytest.mark.parametrize("name", METHOD_NAMES)
def test_the_output_is_detached_and_the_loss_unscaled(name):
    output = create_method(name, T).step(network(), images(), LABELS)
    assert not output.loss.requires_grad
    assert not output.logits.requires_grad
    assert output.logits.shape == (B, 3)
    assert output.loss.shape == ()
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, LABELS))


def test_another_number_of_timesteps_is_a_value_error_that_names_the_shape():
    with pytest.raises(ValueError, match=rf"{T} timesteps.* {T + 1}.*\[{T}, {B}, 2, 8, 8\]"):
        create_method("bptt", T + 1).step(network(), images(), LABELS)


@pytest.mark.parametrize(
    ("name", "settings"),
    [(name, {"momentum": 0.9} if name in RATE_METHODS else {"loss_scale": "1"}) for name in METHOD_NAMES],
)
def test_a_keyword_that_does_not_apply_to_the_method_is_a_type_error(name, settings):
    with pytest.raises(TypeError, match=next(iter(settings))):
        create_method(name, T, **settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: create_method("rate_s", T, loss_scale="T"), "loss_scale"),
        (lambda: create_method("bppt", T), r"'bppt'.*bptt.*rate_m"),
        (lambda: create_method("rate_m", 0), "timesteps"),
        (lambda: create_method("bptt", T).predict(network(), images(static=True), timesteps=0), "timesteps"),
    ],
)
def test_a_setting_out_of_range_is_a_value_error(make, message):
    with pytest.raises(ValueError, match=message):
        make()


class Leak(nn.Module):
    def forward(self, x):
        return torch.ones_like(x)


class TwoOutputs(nn.Module):
    def forward(self, x):
        return namedtuple("Pair", ["logits", "features"])(x, x)


@pytest.mark.parametrize(("kind", "returned"), [(Leak, "Tensor"), (TwoOutputs, "Pair")])
@pytest.mark.parametrize("name", METHOD_NAMES)
def test_a_network_that_returns_anything_but_the_logits_of_its_last_layer_is_a_type_error(name, kind, returned):
    with pytest.raises(TypeError, match=rf"returned {returned}; it must return the logits of its last layer alone"):
        create_method(name, T).step(kind(), images(), LABELS)


class Branching(nn.Module):
    """Goes through `odd` neurons in one pass, of the T steps and rate_S's rate pass, and through two in the others."""

    def __init__(self, odd_pass, odd):
        super().__init__()
        self.neurons, self.head = nn.ModuleList([LIF(), LIF(), LIF()]), nn.Linear(128, 3)
        self.odd_pass, self.odd, self.count = odd_pass, odd, 0

    def forward(self, x):
        x = x.flatten(1)
        for neuron in self.neurons[: self.odd if self.count == self.odd_pass else 2]:
            x = neuron(x)
        self.count += 1
        return self.head(x)


@pytest.mark.parametrize("odd", [1, 3])
@pytest.mark.parametrize(
    ("name", "odd_pass"),
    [(name, step) for name in ("bptt_s", "rate_s", "sltt", "ottt") for step in range(T + (name == "rate_s"))],
)
def test_a_network_that_branches_in_time_is_a_value_error(name, odd_pass, odd):
    method = create_method(name, T)
    method.step(Branching(odd_pass, 2).double(), images(), LABELS)
    with pytest.raises(ValueError, match="must not branch in time"):
        method.step(Branching(odd_pass, odd).double(), images(), LABELS)


def test_a_method_is_pickled_after_a_step():
    method, model = create_method("rate_m", 2), nn.Sequential(nn.Linear(6, 3), LIF(), nn.Linear(3, 3))
    method.step(model, torch.rand(3, 6), torch.tensor([0, 1, 2]))
    again = pickle.loads(pickle.dumps(method))
    assert again.timesteps == 2
    again.step(model, torch.rand(3, 6), torch.tensor([0, 1, 2]))


def test_a_model_is_checked_again_when_it_goes_from_evaluation_to_training():
    model, method = nn.Sequential(spectral_norm(nn.Linear(6, 3)), LIF(), nn.Linear(3, 3)), create_method("rate_s", 2)
    method.step(model.eval(), torch.rand(3, 6), torch.tensor([0, 1, 2]))
    with pytest.raises(ValueError, match="spectral_norm changes the weight at each pass"):
        method.step(model.train(), torch.rand(3, 6), torch.tensor([0, 1, 2]))


def test_a_norm_of_ones_own_counts_the_timesteps_of_rate_s_and_not_its_last_pass():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("num_batches_tracked", torch.tensor(0))

        def forward(self, x):
            self.num_batches_tracked.add_(1)
            return x

    counting = Counting()
    model = nn.Sequential(nn.Linear(6, 3), LIF(), counting, nn.Linear(3, 3))
    create_method("rate_s", 4).step(model, torch.rand(3, 6), torch.tensor([0, 1, 2]))
    assert int(counting.num_batches_tracked) == 4
