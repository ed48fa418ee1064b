"""`digits`: 1797 handwritten digits of 8×8 pixels that ship in scikit-learn."""

import numpy as np
import torch

from rbp_engine.data.readers.packaged import read_packaged
from rbp_engine.data.splits import DataSplits, Images, stratified_split


def digits() -> DataSplits:
    """1437 training and 360 test images, stratified, split seed 0."""
    table = read_packaged("sklearn", "datasets/data/digits.csv.gz")
    if table is None:
        from sklearn.datasets import load_digits

        table = np.column_stack(load_digits(return_X_y=True))
    # Map 17 grey levels, 0–16, to 0–255.
    pixels = np.rint(table[:, :-1].reshape(-1, 1, 8, 8) * (255 / 16)).astype(np.uint8)
    images = Images(torch.from_numpy(pixels), torch.from_numpy(table[:, -1].astype(np.int64)))
    train, test = stratified_split(images, 360)
    return DataSplits(train, test, classes=10, mean=(0.3053,), deviation=(0.3760,))
