"""`digits`: 1797 handwritten digits of 8×8 pixels that ship in scikit-learn."""

import numpy as np
import torch

from rbp_engine.data.splits import DataSplits, Images, stratified_split


def digits() -> DataSplits:
    """1437 for training, 360 for the test, stratified, split seed 0."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    # 17 grey levels, 0–16, onto 0–255.
    pixels = np.rint(bunch.images * (255 / 16)).astype(np.uint8)
    images = Images(torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(bunch.target.astype(np.int64)))
    train, test = stratified_split(images, 360)
    return DataSplits(train, test, classes=10, mean=(0.3053,), deviation=(0.3760,))
