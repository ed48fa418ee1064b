"""Lets `einops.rearrange`, `reduce`, `repeat` and `einsum` take carriers, where einops is installed.

einops asks every subclass of its backends whether a value is one of its own, so the class below is all it takes.
"""

from typing import Any

import torch

from rbp_engine.spiking.carrier import Carrier

try:
    from einops._backends import TorchBackend
except ImportError:  # not installed, or a version that has another structure
    pass
else:

    class CarrierBackend(TorchBackend):
        """Torch's backend; all its functions are methods of the tensor or functions of torch."""

        framework_name = "rbp_engine.spiking"  # the module that must have been imported

        def __init__(self) -> None:
            # Torch's own loads the compiler, which takes seconds.
            self.torch = torch

        def is_appropriate_type(self, tensor: Any) -> bool:
            return isinstance(tensor, Carrier)
