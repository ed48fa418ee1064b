"""Names of the surrogate gradients, readable without torch."""

from collections.abc import Mapping
from typing import Final

#: Surrogate name (snake case of SpikingJelly's class) -> parameters of its static
#: `backward(grad_output, x, ...)` after the first two. A test equates this with SpikingJelly.
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
