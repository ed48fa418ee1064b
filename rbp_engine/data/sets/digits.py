"""`digits`: 1797 handwritten digits of 8×8 pixels, the test set of UCI's Optical Recognition of Handwritten Digits.

The file is the one that scikit-learn ships; digits.LICENSE beside it names authors and licence (CC BY 4.0).
"""

from rbp_engine.data.images import PackagedImages

#: 1437 training and 360 test images.
DIGITS = PackagedImages(
    name="digits",
    paper_name="digits",
    title="Handwritten digits, 8x8",
    classes=10,
    class_names=tuple("0123456789"),
    channels=1,
    image_size=(8, 8),
    train_size=1437,
    test_size=360,
    origin="comes with rbp: https://doi.org/10.24432/C50P49, as in scikit-learn (load_digits); CC BY 4.0",
    layout="the Python package rbp-tui",
    package="rbp-tui",
    module="rbp_engine",
    file="data/digits.csv.gz",
    brightest=16,
    mean=(0.3053,),
    deviation=(0.3760,),
)
DATA_SETS = (DIGITS,)
