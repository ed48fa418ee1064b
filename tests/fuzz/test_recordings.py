"""CIFAR10-DVS in files that a stranger has been at; other sets are in their own tests."""

import numpy as np
import pytest

from rbp_engine.data.sets.cifar10_dvs import CIFAR10_DVS
from tests.fuzz.recordings import broken_promises, problems_of


@pytest.mark.parametrize("layout", [1, 3])
def test_whatever_bytes_are_changed_a_recording_is_read_or_named(tmp_path, layout):
    for label, name in enumerate(CIFAR10_DVS.class_names):
        for number in (0, 900):
            draw = np.random.default_rng([label, number])
            x, y, p, t = (
                draw.integers(128, size=50),
                draw.integers(128, size=50),
                draw.integers(2, size=50),
                np.arange(50),
            )
            folder = tmp_path / "whole" / ("events_np" if layout == 3 else "") / name
            folder.mkdir(parents=True, exist_ok=True)
            if layout == 3:
                np.savez(folder / f"cifar10_{name}_{number}.npz", t=t, x=x, y=y, p=p)
            else:
                words = np.stack([x << 1 | y << 8 | p, t], axis=1).astype(">u4").tobytes()
                (folder / f"cifar10_{name}_{number}.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + words)
    assert problems_of(CIFAR10_DVS, tmp_path / "whole") == []
    assert broken_promises(CIFAR10_DVS, tmp_path / "whole") == []
