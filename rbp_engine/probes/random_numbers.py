"""The global generators of random numbers: how they are kept and put back, for example after a probe has drawn."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


def generator_state() -> dict[str, Any]:
    """The generators of this process: python, numpy, torch and CUDA, in types that a checkpoint may hold."""
    version, words, gauss = random.getstate()
    numpy_state: Any = np.random.get_state(legacy=False)
    return {
        "python": [version, list(words), gauss],
        "numpy": numpy_state | {"state": {**numpy_state["state"], "key": numpy_state["state"]["key"].tolist()}},
        "torch": torch.get_rng_state(),
        # Only of the card that this process uses: the number of visible cards may differ at the resume.
        "cuda": [torch.cuda.get_rng_state()] if torch.cuda.is_initialized() else [],
    }


def restore_generators(state: dict[str, Any]) -> None:
    """Let the generators go on from that state."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    inner = state["numpy"]["state"]
    np.random.set_state(state["numpy"] | {"state": {**inner, "key": np.array(inner["key"], dtype=np.uint32)}})
    torch.set_rng_state(state["torch"])
    if state["cuda"] and torch.cuda.is_initialized():
        torch.cuda.set_rng_state(state["cuda"][0])


@contextmanager
def random_numbers_put_back() -> Iterator[None]:
    """Within it random numbers may be drawn, and generators seeded: afterwards all go on where they were."""
    before = generator_state()
    try:
        yield
    finally:
        restore_generators(before)


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Within it the generators of python, numpy and torch draw from `seed` < 2³²; afterwards all are put back."""
    with random_numbers_put_back():
        random.seed(seed)
        np.random.seed(seed)
        torch.manual_seed(seed)
        yield
