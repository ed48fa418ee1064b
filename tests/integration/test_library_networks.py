"""A network of torchvision in real runs: by name, and from the weights of another run."""

import shutil

from rbp_engine.run.files.layout import RunDirectory

PRESET = """\
[data]
name = "fake"
args = { shape = [1, 32, 32], classes = 5, train_size = 32, test_size = 16 }
batch_size = 16
[model]
name = "torchvision:squeezenet1_1"
[method]
timesteps = 2
[train]
epochs = 1
[run]
device = "cpu"
"""


def test_a_network_of_torchvision_trains_and_another_run_starts_from_its_weights(rbp):
    def log(name):
        return RunDirectory(rbp.runs / name).stdout().read_text()

    (rbp.folder / "squeeze.toml").write_text(PRESET)
    rbp("train", "squeeze.toml", "--id", "first")
    assert "torchvision:squeezenet1_1: 26 neurons in the place of:\n  26 × ReLU: features.1" in log("first")
    rbp("train", "squeeze.toml", "--id", "second", "--pretrained", "first", "data.args.classes=7", "epochs=2")
    told = "50 tensors taken; of another shape and left as drawn: classifier.1.weight ([5, 512, 1, 1] there, [7,"
    assert told in log("second")
    shutil.rmtree(rbp.runs / "first")
    # With a checkpoint of its own, the run needs the file no more.
    rbp("resume", "second", "epochs=3")
    assert rbp.summary("second")["status"] == "completed"
