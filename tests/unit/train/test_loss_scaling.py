"""fp16: the loss is scaled, and a step whose gradients overflow is skipped."""

import torch
from torch import nn

from rbp_engine.methods import create_method
from rbp_engine.models import create_model
from rbp_engine.train.checkpoints.state import State
from rbp_engine.train.optimisation import create_optimizer
from rbp_engine.train.ranks.distributed import Ranks
from rbp_engine.train.step import OptimizerStep

IMAGES = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
LABELS = torch.arange(8) % 4


def steps(precision: str, clip_norm: float = 0.0, accumulate: int = 1) -> tuple[nn.Module, OptimizerStep]:
    torch.manual_seed(0)
    model = create_model("convnet", num_classes=4, in_channels=1).train()
    optimizer = create_optimizer(model, "sgd", lr=0.1)
    method = create_method("rate_m", 2, precision=precision)
    return model, OptimizerStep(State(model, method, optimizer), Ranks(), accumulate=accumulate, clip_norm=clip_norm)


def moved(precision: str, **settings: float) -> torch.Tensor:
    """The change of all weights in a step."""
    model, step = steps(precision, **settings)
    before = weights(model)
    step(IMAGES, LABELS, len(LABELS))
    return weights(model) - before


def weights(model: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def test_only_fp16_is_scaled_and_gradients_are_unscaled_before_the_weights_change():
    scaled = [steps(precision)[1].state.scaler.is_enabled() for precision in ("fp32", "bf16", "fp16")]
    assert scaled == [False, False, True]
    for settings in ({}, {"clip_norm": 0.01}, {"accumulate": 2}):
        low, full = moved("fp16", **settings), moved("fp32", **settings)
        assert torch.cosine_similarity(low, full, dim=0) > 0.9, settings
        assert 0.8 < low.norm() / full.norm() < 1.25, settings


def test_an_overflowing_step_leaves_the_weights_unchanged_and_halves_the_scale():
    model, step = steps("fp16")
    step(IMAGES, LABELS, len(LABELS))
    before, scale = weights(model), step.state.scaler.get_scale()
    step(IMAGES * 1e9, LABELS, len(LABELS))
    assert torch.equal(weights(model), before)
    assert step.state.scaler.get_scale() == scale / 2


def test_an_overflowing_first_step_leaves_no_trace_in_the_momentum():
    model, step = steps("fp16")
    step(IMAGES * 1e9, LABELS, len(LABELS))
    fresh, other = steps("fp16")
    model.load_state_dict(fresh.state_dict())  # removes the batch norm statistics of the overflowing images
    other.state.scaler.load_state_dict(step.state.scaler.state_dict())
    step(IMAGES, LABELS, len(LABELS))
    other(IMAGES, LABELS, len(LABELS))
    assert torch.equal(weights(model), weights(fresh))
