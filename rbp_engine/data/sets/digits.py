"""`digits`: 1797 handwritten digits of 8×8 pixels that ship in scikit-learn."""

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
