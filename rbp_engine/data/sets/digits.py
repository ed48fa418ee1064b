"""`digits`: 1797 handwritten digits of 8×8 pixels that ship in scikit-learn."""

from dataclasses import dataclass
from typing import Any

from rbp_engine.data.images import PackagedImages


@dataclass(frozen=True, kw_only=True)
class Digits(PackagedImages):
    """1437 training and 360 test images, stratified, split seed 0."""

    def table(self) -> tuple[Any, Any]:
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        return images, labels


DIGITS = Digits(
    name="digits",
    paper_name="digits",
    title="Handwritten digits, 8x8",
    classes=10,
    class_names=tuple("0123456789"),
    channels=1,
    image_size=(8, 8),
    train_size=1437,
    test_size=360,
    origin="comes with scikit-learn (load_digits)",
    layout="the Python package scikit-learn",
    package="scikit-learn",
    module="sklearn",
    file="datasets/data/digits.csv.gz",
    brightest=16,
    mean=(0.3053,),
    deviation=(0.3760,),
)
DATA_SETS = (DIGITS,)
