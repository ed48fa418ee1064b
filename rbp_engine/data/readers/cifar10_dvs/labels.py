"""Check the labels stored in layout 4, which should be i mod 10."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.plan import Recording


def check_labels(recordings: Sequence[Recording], stored: Sequence[npt.NDArray[Any]]) -> list[str]:
    """A remark if the test labels are garbage and i mod 10 is used instead: the published script never writes them.

    Raises EventDataError if the training labels differ from i mod 10, or test labels that look real do: the files are
    then numbered in another way, and i mod 10 is wrong.
    """
    wrong = [place for place, one in enumerate(recordings) if not _is(stored[place], one.label)]
    if not wrong:
        return []
    first = recordings[wrong[0]]
    found = np.array2string(stored[wrong[0]][:3], threshold=3)
    what = f"{first.path}: the label is {found}, not {first.label}, its number modulo 10"
    if len(wrong) > 1:
        what += f", and {len(wrong) - 1} more are wrong in this folder"
    if first.part == "train" or _are_balanced(stored):
        raise EventDataError(
            f"{what}: the files are numbered in another way than the published script does, "
            "convert them again or use another layout"
        )
    return [f"{what}: i mod 10 is used instead (the published script does not write the test labels)"]


def _is(stored: npt.NDArray[Any], label: int) -> bool:
    return stored.size == 1 and bool(stored[0] == label)


def _are_balanced(stored: Sequence[npt.NDArray[Any]]) -> bool:
    """Whether there are ten classes, each equally often, which uninitialised memory would not show."""
    if any(label.size != 1 for label in stored):
        return False
    values, counts = np.unique(np.concatenate(list(stored)), return_counts=True)
    return values.tolist() == list(range(10)) and len(set(counts.tolist())) == 1
