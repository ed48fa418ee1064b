"""Which weights a preset distills from, what the experiment knows of them, and the run's own copy."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from rbp_engine.data.feed import Feed
from rbp_engine.data.open_feed import open_feed
from rbp_engine.data.preprocess import Pixels
from rbp_engine.errors import SettingsError
from rbp_engine.preset import load_preset, read_resolved
from rbp_engine.preset.load import LoadedPreset
from rbp_engine.preset.schema import Preset
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.teacher import with_teacher
from rbp_engine.train.build import build_network
from rbp_engine.train.checkpoints.recipe import Recipe
from rbp_engine.train.errors import CheckpointError
from rbp_engine.train.teacher import build_teacher

CPU = torch.device("cpu")
PIXELS = Pixels((0.5,), (0.25,))
NETS = """\
from torch import nn


def net(*, num_classes, in_channels, neuron):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), neuron(), nn.Linear(8, num_classes))
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("nets.py").write_text(NETS)


def trained(name: str, *words: str, seed: int = 0, classes: int = 10) -> RunDirectory:
    """A run whose best weights are drawn from `seed`."""
    run = launch.create(load_preset("digits", ["T=2", *words]), Path("runs"), run_id=name)
    preset = read_resolved(run.preset_toml)
    torch.manual_seed(seed)
    model = build_network(preset, classes=classes, channels=1, code=run.code, kernel="eager", device=CPU)
    run.best.mkdir()
    weights = {key: tensor.contiguous() for key, tensor in model.state_dict().items()}
    save_file(weights, run.best / "model.safetensors", Recipe(preset, classes, PIXELS).as_metadata())
    return run


def opened(run: RunDirectory) -> tuple[Preset, Feed]:
    """The preset of a run, and its data."""
    preset = read_resolved(run.preset_toml)
    return preset, open_feed(preset.data, timesteps=4, seed=1, held_out=0.0, device=CPU)


def asked(*words: str) -> LoadedPreset:
    return LaunchRequest("digits", words, LaunchOptions(Path("runs"))).load()


def test_a_teacher_whose_weights_were_pruned_is_named_as_such():
    shutil.rmtree(trained("big").best)
    with pytest.raises(RunError, match="big has no best weights: it has saved none yet, or they were pruned"):
        asked("loss.distill=big")


def test_the_experiment_knows_the_teacher_by_its_weights_and_not_by_its_name():
    trained("one")
    trained("other", seed=1)
    shutil.copy("runs/one/checkpoints/best/model.safetensors", "copy.safetensors")
    by_name = {name: asked(f"loss.distill={name}").experiment for name in ("one", "runs/one", "copy.safetensors")}
    assert len(set(by_name.values())) == 1
    assert asked("loss.distill=runs/one/checkpoints/best").experiment == by_name["one"]
    assert len({by_name["one"], asked("loss.distill=other").experiment, asked().experiment}) == 3
    assert asked("loss.distill=one", "loss.distill_weight=0.3").experiment != by_name["one"]
    without = asked()
    assert with_teacher(without, Path("nowhere")) is without


def test_a_path_in_a_preset_is_relative_to_the_preset_that_says_it():
    Path("sub").mkdir()
    shutil.copy(trained("one").best / "model.safetensors", "sub/teacher.safetensors")
    Path("sub/mine.toml").write_text('extends = "digits"\n[loss]\ndistill = "./teacher.safetensors"\n')
    Path("child.toml").write_text('extends = "sub/mine.toml"\n')
    found = {
        LaunchRequest(name, (), LaunchOptions(Path("runs"))).load().experiment
        for name in ("sub/mine.toml", "child.toml")
    }
    assert found == {asked("loss.distill=one").experiment}


def test_a_run_keeps_a_copy_and_is_repeated_with_it_when_the_teacher_is_gone():
    teacher = trained("one")
    loaded = asked("loss.distill=one")
    run = launch.create(loaded, Path("runs"), run_id="student")
    assert run.teacher.read_bytes() == (teacher.best / "model.safetensors").read_bytes()
    shutil.rmtree(teacher.path)
    assert LaunchRequest.like(run).load().experiment == loaded.experiment
    distill = build_teacher(run, *opened(run), CPU)
    assert distill.targets(torch.rand(3, 1, 8, 8)).shape == (3, 10)


def test_weights_that_change_while_a_run_is_made_leave_no_run():
    loaded = (trained("one"), asked("loss.distill=one"))[1]
    trained("two", seed=1).best.joinpath("model.safetensors").replace("runs/one/checkpoints/best/model.safetensors")
    with pytest.raises(RunError, match="have changed just now"):
        launch.create(loaded, Path("runs"), run_id="student")
    assert not Path("runs/student").exists()


def test_a_teachers_own_network_is_copied_too_and_asks_for_trust(monkeypatch):
    trained("one", "model.name=nets.py:net")
    loaded = asked("loss.distill=one")
    run = launch.create(loaded, Path("runs"), run_id="student")
    assert (run.code / "nets.py").read_text() == NETS
    assert LaunchRequest.like(run).load().experiment == loaded.experiment
    request = LaunchRequest("digits", ("loss.distill=one",), LaunchOptions(Path("runs")))
    request.require_trust(loaded)  # it was launched here
    monkeypatch.setenv("XDG_STATE_HOME", "elsewhere")
    with pytest.raises(trust.Untrusted, match=r"one would execute code/nets\.py"):
        request.require_trust(loaded)
    assert build_teacher(run, *opened(run), CPU) is not None


def test_what_cannot_be_a_teacher_is_said():
    run = trained("one", "model.name=nets.py:net")
    shutil.copy(run.best / "model.safetensors", "alone.safetensors")
    save_file({"weight": torch.zeros(1)}, "foreign.safetensors")
    for text in ("text.safetensors", "text.pth"):
        Path(text).write_text("no weights")
    Path("other").mkdir()
    Path("other/nets.py").write_text(NETS + "# another\n")
    for words, message in (
        (["nobody"], "no run"),
        (["./gone.safetensors"], "No such file"),
        (["alone.safetensors"], "whose code is kept in the run: name the run"),
        (["foreign.safetensors"], "does not say which network it is of"),
        (["text.safetensors"], "is damaged, or does not say"),
        (["text.pth"], r"is damaged, or does not say.*Name a run, or a copy of its model\.safetensors"),
        (["one", "model.name=other/nets.py:net"], r"cannot be in one folder: two different files are called nets\.py"),
    ):
        with pytest.raises(RunError, match=message):
            asked(f"loss.distill={words[0]}", *words[1:])


def test_a_teacher_of_other_data_is_refused_and_one_of_another_normalisation_sees_its_own():
    trained("three", classes=3)
    trained("ten")
    run = launch.create(asked("loss.distill=three"), Path("runs"), run_id="wrong")
    with pytest.raises(SettingsError, match=r"trained on other data: classes 3, here 10"):
        build_teacher(run, *opened(run), CPU)
    run = launch.create(asked("loss.distill=ten"), Path("runs"), run_id="s")
    preset, feed = opened(run)
    alike, other = (build_teacher(run, preset, one, CPU) for one in (replace(feed, preprocess=PIXELS), feed))
    assert alike is not None and other is not None
    assert isinstance(feed.preprocess, Pixels) and feed.preprocess.mean != PIXELS.mean
    raw = torch.randint(0, 256, (4, 1, 8, 8), dtype=torch.uint8)
    expected = alike.teacher(PIXELS(raw))
    torch.testing.assert_close(other.teacher(feed.preprocess(raw)), expected, rtol=1e-4, atol=1e-4)


def test_a_run_whose_copy_of_the_teacher_is_gone_says_how_it_comes_back():
    trained("ten")
    run = launch.create(asked("loss.distill=ten"), Path("runs"), run_id="student")
    run.teacher.unlink()
    with pytest.raises(CheckpointError, match=r"No such file.* put the teacher's best model\.safetensors there"):
        build_teacher(run, *opened(run), CPU)
