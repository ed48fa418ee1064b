"""`rbp_engine.load` on really trained runs: what it predicts is what the run recorded."""

import functools
import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
from PIL import Image

import rbp_engine
from rbp_engine.data.catalog import catalogued
from rbp_engine.data.events.synthetic import moving_digits
from rbp_engine.run.errors import NoSuchRun, RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary
from rbp_engine.train.checkpoints.recipe import KEY
from rbp_engine.train.device import DeviceError
from rbp_engine.train.errors import CheckpointError
from rbp_engine.user_code import call_own

GOLDEN = Path(__file__).parents[2] / "golden"
pytestmark = pytest.mark.xdist_group("library")  # they share runs


@functools.cache
def digits():
    test = catalogued("digits").load().test
    return test.pixels, test.labels


@functools.cache
def events():
    _, test = moving_digits(4)
    return torch.from_numpy(test.counts).transpose(0, 1), torch.from_numpy(test.labels)


def halves():
    test = call_own("own.py:halves", Path()).test
    return test.pixels, test.labels


TEST_SETS = {"first": digits, "moving": events, "own": halves}


@pytest.mark.parametrize("weights", ["best", "last"])
@pytest.mark.parametrize("name", TEST_SETS)
def test_raw_test_images_give_exactly_the_accuracy_that_the_run_recorded(trained, name, weights):
    images, labels = TEST_SETS[name]()
    logits = rbp_engine.load(name, weights=weights).predict(images)
    recorded = getattr(load_summary(RunDirectory(trained / name)), weights)
    assert int((logits.argmax(1) == labels).sum()) / len(labels) == recorded.top1
    if weights == "last":  # of the best epoch only the accuracy is recorded
        assert torch.nn.functional.cross_entropy(logits, labels).item() == pytest.approx(recorded.loss, rel=1e-4)


@pytest.mark.parametrize(
    "source", ["firs", "./runs/first", "runs/first/checkpoints/best", "runs/first/checkpoints/best/model.safetensors"]
)
def test_a_run_a_folder_a_checkpoint_and_a_file_are_the_same_network(source, trained):
    loaded, expected = rbp_engine.load(source), rbp_engine.load("first")
    assert torch.equal(loaded.predict(digits()[0][:9]), expected.predict(digits()[0][:9]))
    assert loaded.preset == expected.preset and loaded.run is not None and loaded.run.id == "first"
    assert loaded.classes == 10 and not loaded.model.training


def test_a_copied_file_is_all_that_is_needed(tmp_path):
    loaded = rbp_engine.load("first")
    alone = rbp_engine.load(shutil.copy(loaded.file, tmp_path / "mine.safetensors"))
    assert torch.equal(alone.predict(digits()[0][:9]), loaded.predict(digits()[0][:9]))
    assert alone.run is None and alone.preset == loaded.preset and alone.preprocess == loaded.preprocess


def test_neuron_settings_and_timesteps_come_along():
    loaded = rbp_engine.load("own")
    assert loaded.method.timesteps == loaded.preset.method.timesteps == 2
    assert loaded.model[2].decay == loaded.preset.neuron.decay == 0.7


def test_uint8_floats_arrays_and_pil_images_give_the_same_logits():
    pixels, loaded = digits()[0][:5], rbp_engine.load("first")
    expected = loaded.predict(pixels)
    pil = [Image.fromarray(image[0].numpy()) for image in pixels]
    for images in (pixels / 255, pixels.numpy(), pil, [image.convert("RGB") for image in pil]):
        assert torch.equal(loaded.predict(images), expected)
    assert torch.equal(loaded.predict(pil[0]), loaded.predict(pixels[:1]))


def test_weights_that_do_not_say_of_which_network_they_are_are_refused(tmp_path):
    weights = safetensors.torch.load_file(rbp_engine.load("first").file)
    safetensors.torch.save_file(weights, tmp_path / "lonely.safetensors")
    with pytest.raises(CheckpointError, match=r"does not say which network it is of.* load the run"):
        rbp_engine.load(tmp_path / "lonely.safetensors")


def test_code_that_the_user_has_not_launched_is_executed_only_with_trust(stranger, tmp_path):
    for source in (stranger.path, stranger.best, stranger.best / "model.safetensors"):
        with pytest.raises(RunError, match=r"would execute code/own\.py.*; if you trust it, pass trust=True$"):
            rbp_engine.load(source)
    with pytest.raises(RunError, match="trust=True"):
        rbp_engine.load("own", runs_dir=tmp_path / "runs")
    with pytest.raises(CheckpointError, match=r"own\.py:net, code of its author's own.*load the folder of the run"):
        rbp_engine.load(shutil.copy(stranger.best / "model.safetensors", tmp_path / "x.safetensors"), trust=True)
    assert not (tmp_path / "executed").exists()
    assert rbp_engine.load(stranger.path, trust=True).classes == 2
    assert (tmp_path / "executed").exists()


def test_a_device_is_one_of_torch_too_and_an_unknown_name_is_refused():
    assert rbp_engine.load("first", device=torch.device("cpu")).device == torch.device("cpu")
    with pytest.raises(DeviceError, match=r"a device is 'auto', 'cpu', 'cuda' or 'cuda:N', got 'gpu'"):
        rbp_engine.load("first", device="gpu")


def test_a_run_that_is_not_there_or_has_no_checkpoint_is_one_sentence(tmp_path, write_run):
    with pytest.raises(NoSuchRun, match=r"^no run 'nowhere' in .*rbp ls shows"):
        rbp_engine.load("nowhere")
    with pytest.raises(NoSuchRun, match=r"for what is called so here, say '\./runs'"):
        rbp_engine.load("runs")
    with pytest.raises(CheckpointError, match=r"there is no .*/gone\.safetensors: expected a run's folder"):
        rbp_engine.load("gone.safetensors")
    with pytest.raises(CheckpointError, match="is neither a run nor a checkpoint"):
        rbp_engine.load(tmp_path)
    write_run(tmp_path / "runs", "fresh")
    for weights in ("best", "last"):
        with pytest.raises(CheckpointError, match=f"^fresh has no checkpoint of its {weights} weights yet$"):
            rbp_engine.load("fresh", runs_dir=tmp_path / "runs", weights=weights)
    with pytest.raises(ValueError, match="weights are 'best' or 'last', got 'newest'"):
        rbp_engine.load("first", weights="newest")


def test_damaged_weights_are_named(trained, tmp_path):
    run = RunDirectory(Path(shutil.copytree(trained / "first", tmp_path / "first")))
    for path in run.checkpoints.glob("*/model.safetensors"):
        path.write_bytes(path.read_bytes()[:-8])
    for weights in ("best", "last"):
        with pytest.raises(CheckpointError, match=rf"of its {weights} weights: .*model\.safetensors is damaged: size"):
            rbp_engine.load(run.path, weights=weights)
    with pytest.raises(CheckpointError, match="is damaged"):
        rbp_engine.load(run.best)
    (tmp_path / "text.safetensors").write_text("no weights at all")
    with pytest.raises(CheckpointError, match=r"text\.safetensors is damaged, or no file of safetensors"):
        rbp_engine.load(tmp_path / "text.safetensors")


@pytest.fixture
def forged(tmp_path):
    """The weights of `first` with another recipe."""

    def forge(change):
        file = rbp_engine.load("first").file
        with safetensors.safe_open(file, "pt") as opened:
            value = json.loads(opened.metadata()[KEY])
        change(value)
        path = tmp_path / "forged.safetensors"
        safetensors.torch.save_file(safetensors.torch.load_file(file), path, {KEY: json.dumps(value)})
        return path

    return forge


def test_another_number_of_classes_is_one_sentence(forged):
    message = (
        r"^the weights of forged\.safetensors do not fit this network: \S+ is \[10, \d+\] there, and \[7, \d+\] here$"
    )
    with pytest.raises(CheckpointError, match=message):
        rbp_engine.load(forged(lambda value: value.update(classes=7)))


@pytest.mark.parametrize(
    "change",
    [
        lambda value: value.update(classes=10**9),
        lambda value: value.update(preset="[model]\nname = 'of/another.py:net'\n"),
        lambda value: value.update(preset="[model]\nname = 'nothing'\n"),
        lambda value: value.pop("pixels"),
        lambda value: value["pixels"].update(deviation=[0.0]),
        lambda value: value["pixels"].update(mean=[1e999]),
        lambda value: value["pixels"].update(mean=[0.1, 0.2]),
    ],
)
def test_a_recipe_that_no_run_writes_is_refused(forged, change):
    with pytest.raises(CheckpointError, match="says which network it is of, but not in a way that is understood here"):
        rbp_engine.load(forged(change))
