"""The control: faults planted in the engine are found, by networks on which the correct engine agrees."""

import functools
from contextlib import nullcontext

import pytest

from rbp_engine.methods import rate as rate_methods
from rbp_engine.spiking import batch_norm, firing
from rbp_engine.spiking.batch_norm import BatchNorm
from rbp_engine.spiking.carriers.single_step import StepTensor, TraceTensor
from rbp_engine.spiking.layers import loops
from rbp_engine.spiking.nonlinear import AtMean, MatrixProduct, MaxPool2d, Pointwise, Product
from rbp_engine.spiking.steps import WeightInput, WithValue
from tests.fuzz.comparison import by_engine, by_oracle, differences
from tests.fuzz.networks import draw

pytestmark = pytest.mark.filterwarnings("ignore:.* gives numbers that are no spikes")
# With 60 networks, a fault that shows in one network of eight is missed one time in three thousand.
NETWORKS = 60

problem_of = functools.cache(draw)
oracle_of = functools.cache(lambda seed, method: by_oracle(problem_of(seed), method))


def rho_that_stays_one(patch):
    patch.setattr(loops, "advanced", lambda rho, neuron: rho)


def eligibility_of_the_last_step(patch):
    sound = loops.fire_rate

    def fire_rate(membrane, state, *others):
        state.eligibility.zero_()
        return sound(membrane, state, *others)

    patch.setattr(loops, "fire_rate", fire_rate)


def loss_that_is_not_divided(patch):
    sound = rate_methods.RateMethod.__init__

    def initialise(self, timesteps, loss_scale="1/T", precision="fp32"):
        sound(self, timesteps, "1", precision)

    patch.setattr(rate_methods.RateMethod, "__init__", initialise)


def weights_that_see_counts(patch):
    patch.setattr(WeightInput, "load", staticmethod(lambda stored, counted, dtype: stored.to(dtype)))


def reset_that_is_always_detached_through_time(patch):
    sound = loops.gradient_through_time

    def gradient_through_time(current, neuron, *others):
        return sound(current, neuron._replace(detach_reset=True), *others)

    patch.setattr(loops, "gradient_through_time", gradient_through_time)


def mask_for_every_step(patch):
    patch.setattr(StepTensor, "dropout_mask", lambda self, draw: draw())


def statistics_that_move_twice(patch):
    sound = BatchNorm.statistics

    def statistics(self, *values):
        sound(self, *values)
        return sound(self, *values)

    patch.setattr(BatchNorm, "statistics", statistics)


def variance_of_one_step_for_a_static_image(patch):
    patch.setattr(BatchNorm, "static", lambda self, values, timesteps: self(values))


def statistics_that_do_not_move_with_the_values(patch):
    sound = BatchNorm.gradients

    def gradients(self, grad, values, mean, inverse_deviation, needed):
        scale = inverse_deviation if self.weight is None else inverse_deviation * self.weight
        _, *others = sound(self, grad, values, mean, inverse_deviation, needed)
        return grad * batch_norm.per_channel(scale, grad) if needed[0] else None, *others

    patch.setattr(BatchNorm, "gradients", gradients)


def rate_pass_that_counts_as_a_batch(patch):
    patch.setattr(rate_methods, "batches_counted", lambda model, times: nullcontext())


def largest_and_product_of_the_first_step(patch):
    def at_the_first_step(self, inputs, out, parts):
        return self(*(WithValue.apply(x.rate(), x.at(0).to(x.dtype)) for x in inputs))

    for kind in (AtMean, MaxPool2d, Product, MatrixProduct):
        patch.setattr(kind, "grad_proxy", at_the_first_step)


def slope_at_the_mean(patch):
    patch.setattr(Pointwise, "of_rate", lambda self, rate, out, *parts: self.function(rate))


def sum_that_forgets_its_second_term(patch):
    sound = firing.rate_proxy
    patch.setattr(firing, "rate_proxy", lambda terms, means, *others: sound(terms[:1], means[:1], *others))


def timestep_without_its_leak(patch):
    def gradient(grad_spikes, grad_later, charged, before, neuron, through_time):
        later = None if grad_later is None else grad_later / neuron.decay
        return sound(grad_spikes, later, charged, before, neuron, through_time)

    sound = loops.gradient_once_later
    patch.setattr(loops, "gradient_once_later", gradient)


def weights_that_see_spikes(patch):
    sound = TraceTensor.linear

    def linear(cls, operation, inputs):
        return (super(TraceTensor, cls).linear if operation.weights == "layer" else sound)(operation, inputs)

    patch.setattr(TraceTensor, "linear", classmethod(linear))


def threshold_that_forgets_the_reset(patch):
    patch.setattr(loops, "reset_by_threshold", lambda *_: 0.0)


def decay_that_sees_the_charged_membrane(patch):
    patch.setattr(loops, "from_rest", lambda charged, neuron: charged)


PLANTED = [
    (rho_that_stays_one, "rate_m"),
    (eligibility_of_the_last_step, "rate_s"),
    (loss_that_is_not_divided, "rate_s"),
    (weights_that_see_counts, "rate_m"),
    (reset_that_is_always_detached_through_time, "bptt"),
    (mask_for_every_step, "sltt"),
    (statistics_that_move_twice, "bptt"),
    (variance_of_one_step_for_a_static_image, "rate_m"),
    (statistics_that_do_not_move_with_the_values, "rate_m"),
    (rate_pass_that_counts_as_a_batch, "rate_s"),
    (largest_and_product_of_the_first_step, "rate_m"),
    (slope_at_the_mean, "rate_s"),
    (sum_that_forgets_its_second_term, "rate_s"),
    (timestep_without_its_leak, "bptt_s"),
    (weights_that_see_spikes, "ottt"),
    (threshold_that_forgets_the_reset, "rate_m"),
    (decay_that_sees_the_charged_membrane, "bptt"),
]


@pytest.mark.parametrize(("plant", "method"), PLANTED, ids=lambda value: getattr(value, "__name__", value))
def test_a_planted_fault_is_found(plant, method):
    for seed in range(NETWORKS):
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            found = is_wrong(seed, method)
        if found and not is_wrong(seed, method):
            return
    pytest.fail(f"none of {NETWORKS} networks found it")


def is_wrong(seed, method):
    expected = oracle_of(seed, method)
    return bool(differences(by_engine(problem_of(seed), method), expected)) and not expected.depends_on_rounding()
