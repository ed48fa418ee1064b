"""Gradient fidelity while training: its events, its errors and its memory."""

import pytest
import torch

from rbp_engine.methods import create_method
from rbp_engine.probes.gradient_fidelity import DIGITS, FidelityProbe, gradient_fidelity, probe_batch
from rbp_engine.run.files.events import GradientFidelity, WarningRaised
from tests.unit.probes.drawing import Drawing, T, batch


def test_an_event_has_the_fidelity_of_the_weights_after_its_step():
    torch.manual_seed(0)
    model, method = Drawing(), create_method("rate_s", T)
    probe = FidelityProbe(model, method, batch(4), every=1)
    probe.measure(7)
    expected = gradient_fidelity(model, method, *batch(4))
    with torch.no_grad():
        model.out.weight.zero_()
    [(step, event)] = probe.take()
    assert step == 7 and isinstance(event, GradientFidelity)
    assert event.samples == 4
    assert event.cosine == pytest.approx(expected.whole.cosine, abs=10**-DIGITS)
    assert event.norm_ratio == pytest.approx(expected.whole.norm_ratio, abs=10**-DIGITS)
    by_weight = expected.by_weight.values()
    assert event.cosine_by_weight == pytest.approx([one.cosine for one in by_weight], abs=10**-DIGITS)
    assert event.norm_ratio_by_weight == pytest.approx([one.norm_ratio for one in by_weight], abs=10**-DIGITS)
    assert event.weight_error == pytest.approx(list(expected.weight_error.values()), abs=10**-DIGITS)
    assert event.neuron_error == pytest.approx(list(expected.neuron_error.values()), abs=10**-DIGITS)


@pytest.mark.parametrize(
    ("error", "text"), [(ValueError("three\x1b[31m images"), "three"), (ZeroDivisionError(), ": ZeroDivisionError")]
)
def test_an_error_ends_the_comparisons_with_one_warning_that_has_its_text_or_its_name(error, text):
    class OnlyInPairs(Drawing):
        def forward(self, x):
            if x.shape[0] == 3:
                raise error
            return super().forward(x)

    probe = FidelityProbe(OnlyInPairs(), create_method("rate_m", T), batch(3), every=1)
    probe.measure(1)
    probe.measure(2)
    [(step, warning)] = probe.take()
    assert step == 1 and isinstance(warning, WarningRaised)
    assert "probes.gradients" in warning.message and text in warning.message and "\x1b" not in warning.message


@pytest.mark.parametrize(("number", "expected"), [(8, 8), (16, 16), (24, 24), (100, 40)])
def test_the_first_images_are_compared_as_many_as_are_asked_for_from_as_many_batches_as_it_takes(number, expected):
    static, labels = batch(40)
    frames = static.expand(4, *static.shape)
    for images in (static, frames):
        parts = [(images[..., at : at + 16, :, :, :], labels[at : at + 16]) for at in (0, 16, 32)]
        found = probe_batch(parts, number)
        assert found is not None and torch.equal(found[1], labels[:expected])
        assert torch.equal(found[0], images[..., :expected, :, :, :])
        assert found[0].untyped_storage().nbytes() == found[0].nbytes  # not a view of all images


def test_without_images_there_is_no_batch():
    assert probe_batch([], 8) is None
