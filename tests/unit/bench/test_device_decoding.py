"""Images that a device decodes itself; here the device is the CPU."""

from itertools import islice
from pathlib import Path

import torch

from rbp_engine.bench.measure.device_decoding import decoded_on
from rbp_engine.bench.measure.loading import write_photographs


def test_batches_are_random_crops_of_the_files(tmp_path: Path) -> None:
    write_photographs(tmp_path, different=2, files=4)
    files = sorted((tmp_path / "train").rglob("*.JPEG"))
    (first, labels), (second, _) = islice(decoded_on(torch.device("cpu"), files, 3, size=16), 2)
    assert first.shape == second.shape == (3, 3, 16, 16) and labels.shape == (3,)
    assert 0.0 <= first.min() < 0.4 < first.max() <= 1.0
    assert not torch.equal(first, second)
