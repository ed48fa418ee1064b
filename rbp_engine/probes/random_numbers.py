"""Random numbers of a probe's own, so that those of training go on as if it had drawn none."""

import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


@contextmanager
def random_numbers_put_back() -> Iterator[None]:
    """Within it random numbers may be drawn, and generators seeded: afterwards all go on where they were."""
    python, arrays = random.getstate(), np.random.get_state()
    devices = [torch.cuda.current_device()] if torch.cuda.is_available() and torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(arrays)


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Within it the generators of python, numpy and torch draw from `seed` < 2³²; afterwards all are put back."""
    with random_numbers_put_back():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield
