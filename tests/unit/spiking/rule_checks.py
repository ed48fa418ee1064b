"""What holds of every rule: of an operation of activations [B, …] and of tensors without time, in float64."""

import torch

from rbp_engine.spiking import RateTensor, SequenceTensor
from rbp_engine.spiking.carriers.rate_s import RateSTensor
from rbp_engine.spiking.carriers.single_step import StepState
from rbp_engine.spiking.current import Current

T, B = 3, 2


def random(*shape, seed=0):
    return 0.3 + torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tensors(shapes, first=0):
    return [random(*shape, seed=first + i).requires_grad_() for i, shape in enumerate(shapes)]


def close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-11, atol=1e-11)


def gradients(value, *leaves):
    """The gradients of a fixed weighted sum of `value`."""
    return torch.autograd.grad(value, leaves, random(*value.shape, seed=7), retain_graph=True)


def same_gradients(value, leaves, expected, other_leaves=None):
    for found, wanted in zip(gradients(value, *leaves), gradients(expected, *(other_leaves or leaves)), strict=True):
        close(found, wanted)


def by_step(operation, inputs, constants=()):
    return torch.stack([operation(*steps, *constants) for steps in zip(*inputs, strict=True)])


def by_rate_m(operation, inputs, rates, constants=()):
    return operation(*(RateTensor(Current.of(x, r)) for x, r in zip(inputs, rates, strict=True)), *constants)


def by_rate_s(operation, inputs, rates, constants=()):
    state = StepState(T)
    with torch.no_grad():
        for steps in zip(*inputs, strict=True):
            state.next_pass()
            operation(*(RateSTensor.of_step(x, state, static=False) for x in steps), *constants)
    state.next_pass()
    out = operation(*(RateSTensor.of_means(r, state, static=False) for r in rates), *constants)
    state.check_complete()
    return out


def check_sequence(operation, shapes, constants=()):
    """A sequence is computed step by step, with the gradient of each step."""
    inputs = tensors([(T, *shape) for shape in shapes])
    out, expected = (
        operation(*(SequenceTensor(Current.of(x)) for x in inputs), *constants),
        by_step(operation, inputs, constants),
    )
    assert (out.timesteps, out.current.static, tuple(out.shape)) == (T, False, tuple(expected.shape[1:]))
    close(out.values(), expected)
    same_gradients(out.values(), [*inputs, *constants], expected)


def check_static_image(operation, shapes, constants=()):
    """The same image at every step is computed once, with the operation's own gradient."""
    images = tensors(shapes)
    static = [SequenceTensor(Current.constant(x, T)) for x in images]
    out, plain = operation(*static, *constants), operation(*images, *constants)
    rate = operation(*(RateTensor(Current.constant(x.detach(), T, x)) for x in images), *constants)
    assert out.current.static and rate.current.static and not rate.resolve().values().requires_grad
    for value in (out.time_mean(), rate.rate()):
        close(value, plain)
        same_gradients(value, [*images, *constants], plain)


def check_rate_at_the_means(operation, shapes, constants=()):
    """The rate is the mean of the steps, with the gradient of the operation at the means."""
    inputs = [x.detach() for x in tensors([(T, *shape) for shape in shapes])]
    rates = [x.mean(0).requires_grad_() for x in inputs]
    out, steps = by_rate_m(operation, inputs, rates, constants), by_step(operation, inputs, constants)
    close(out.resolve().values(), steps)
    close(out.rate(), steps.mean(0))
    assert not out.resolve().values().requires_grad
    same_gradients(out.rate(), [*rates, *constants], operation(*rates, *constants))


def check_rate_at_the_largest_mean(operation, shapes, constants=()):
    """The rate is the mean of the maxima, which is not the maximum of the means, with the gradient of that."""
    [x] = [x.detach() for x in tensors([(T, *shape) for shape in shapes])]
    for method in (by_rate_m, by_rate_s):
        r = x.mean(0).requires_grad_()
        out = method(operation, [x], [r]).rate()
        close(out, by_step(operation, [x]).mean(0))
        assert not torch.allclose(out, operation(r))
        same_gradients(out, [r], operation(r))


def check_rate_with_mean_slopes(operation, shapes, constants=()):
    """The rate is the mean of the steps, with the gradient of an offset that is the same at every step."""
    inputs = [x.detach() for x in tensors([(T, *shape) for shape in shapes])]
    offsets = [torch.zeros(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    moved = [x + offset for x, offset in zip(inputs, offsets, strict=True)]
    expected = by_step(operation, moved, constants).mean(0)
    for method in (by_rate_m, by_rate_s):
        rates = [x.mean(0).requires_grad_() for x in inputs]
        out = method(operation, inputs, rates, constants).rate()
        close(out, expected)
        same_gradients(out, [*rates, *constants], expected, [*offsets, *constants])
        assert all(gradient.abs().max() > 1e-3 for gradient in gradients(out, *rates, *constants))
