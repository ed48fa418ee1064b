"""What holds of every network that has a new operation, by whatever method it trains."""

import torch

from rbp_engine.methods import METHODS, create_method

RESETS = {
    "soft-detached": {"reset": "soft", "detach_reset": True},
    "soft": {"reset": "soft", "detach_reset": False},
    "hard-detached": {"reset": "hard", "detach_reset": True},
    "hard": {"reset": "hard", "detach_reset": False},
    "hard-to-minus-0.3-detached": {"reset": "hard", "v_reset": -0.3, "detach_reset": True},
    "hard-to-minus-0.3": {"reset": "hard", "v_reset": -0.3, "detach_reset": False},
}


def check_one_gradient_at_t_1(make, images, labels):
    """At T = 1 nothing is averaged over time: all methods have the gradient of BPTT, and it is not 0."""
    found = {}
    for method in METHODS:
        torch.manual_seed(0)
        model = make().double()
        create_method(method, 1).step(model, images, labels)
        found[method] = torch.cat([parameter.grad.flatten() for parameter in model.parameters()])
    for method, gradient in found.items():
        assert gradient.abs().max() > 1e-3
        torch.testing.assert_close(gradient, found["bptt"], rtol=1e-9, atol=1e-12, msg=lambda m, n=method: n + m)
