"""Random numbers of a probe's own, so that those of training go on as if it had drawn none."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def own_random_numbers(device: torch.device, seed: int) -> Iterator[None]:
    """Within it the global generators of python, numpy and torch draw from `seed` < 2³²; then they are put back."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            random.seed(seed)
            np.random.seed(seed)
            torch.manual_seed(seed)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
