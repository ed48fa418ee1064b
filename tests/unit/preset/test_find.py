import itertools
from pathlib import Path

import pytest

from rbp_engine.preset import PresetError, list_presets, load_preset
from rbp_engine.preset.find import bundled_folder

CIFAR_NETWORKS = ("resnet18", "resnet19", "vgg11", "vgg13", "vggsnn")
OF_THE_PAPER = {
    *(f"{data}-{network}" for data in ("cifar10", "cifar100") for network in CIFAR_NETWORKS),
    "imagenet-sew_resnet34",
    "imagenet-preact_resnet34",
    "cifar10-dvs-vggsnn",
}
# Published for BPTT, by preset: method, timesteps, accuracy.
TRANSFORMERS = {
    "cifar10-spikformer": ("bptt", 4, 0.9551),
    "cifar100-spikformer": ("bptt", 4, 0.7821),
    "cifar10-dvs-spikformer": ("bptt", 16, 0.809),
    "imagenet-spikformer": ("bptt", 4, 0.7338),
    "cifar10-qkformer": ("bptt", 4, 0.9618),
    "cifar100-qkformer": ("bptt", 4, 0.8115),
    "cifar10-dvs-qkformer": ("bptt", 16, 0.84),
    "imagenet-qkformer": ("bptt", 4, 0.8422),
}
MEMBRANE_SHORTCUTS = {
    "cifar10-sdt": ("bptt", 4, 0.956),
    "cifar100-sdt": ("bptt", 4, 0.784),
    "imagenet-sdt": ("bptt", 4, 0.7457),
    "imagenet-sdt_v2": ("bptt", 4, 0.80),
    "imagenet-ms_resnet34": ("bptt", 6, 0.6942),
    "cifar10-max_resnet18": ("bptt", 4, 0.9717),
    "cifar100-max_resnet18": ("bptt", 4, 0.8306),
    "imagenet-maxformer": ("bptt", 4, 0.8239),
}
PUBLISHED_FOR_BPTT = TRANSFORMERS | MEMBRANE_SHORTCUTS
SWEEPS = {
    *("paper-cifar10", "paper-cifar100", "paper-imagenet", "paper-cifar10-dvs", "paper-gradients", "paper-timesteps"),
    *("paper-firing-rates", "paper-shuffled-time", "paper-seconds", "digits-sweep", "cifar10-dvs-tet"),
}
BUNDLED = {path.stem for path in bundled_folder().rglob("*.toml")}
OF_NO_PAPER = BUNDLED - OF_THE_PAPER - PUBLISHED_FOR_BPTT.keys() - SWEEPS


@pytest.fixture(autouse=True)
def places(tmp_path, monkeypatch):
    """The folders of the search order that a user can fill, first to last."""
    folders = {name: tmp_path / name / "presets" for name in ("here", "chosen", "user")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("RBP_PRESETS", str(folders["chosen"]))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "user"))
    return folders


def test_all_bundled_presets_are_valid_and_different_experiments():
    files = list(bundled_folder().rglob("*.toml"))
    assert len(files) == len(BUNDLED)
    loaded = [load_preset(str(path)) for path in files]
    assert {one.name for one in loaded} == BUNDLED > OF_THE_PAPER | PUBLISHED_FOR_BPTT.keys()
    assert {one.name for one in loaded if one.sweep} == SWEEPS
    assert len({one.experiment for one in loaded if one.sweep is None}) == len(BUNDLED - SWEEPS)
    assert all(one.preset.title and one.preset.description for one in loaded)


def test_the_presets_of_the_paper_have_its_settings():
    def settings(name: str) -> tuple[object, ...]:
        preset = load_preset(name).preset
        assert (preset.neuron.decay, preset.neuron.threshold, preset.neuron.reset) == (0.2, 1.0, "soft")
        assert (preset.neuron.surrogate, preset.neuron.surrogate_args) == ("sigmoid", {"alpha": 4.0})
        assert (preset.optim.momentum, preset.optim.schedule, preset.optim.warmup_epochs) == (0.9, "cosine", 0)
        assert (preset.model.init, preset.method.loss_scale, preset.data.flip) == ("paper", "1/T", True)
        optim, train = preset.optim, preset.train
        return preset.data.batch_size, optim.lr, optim.weight_decay, train.epochs, preset.method.timesteps

    def augmentation(name: str) -> tuple[object, ...]:
        data = load_preset(name).preset.data
        return data.crop_padding, data.auto_augment, data.cutout, data.roll, data.size

    for name in OF_THE_PAPER:
        if name.startswith(("cifar10-dvs", "imagenet")):
            continue
        assert settings(name) == (128, 0.1, 5e-4, 300, 4)
        assert augmentation(name) == (4, True, 16, 0, 0)
    for name in ("imagenet-sew_resnet34", "imagenet-preact_resnet34"):
        assert settings(name) == (512, 0.2, 2e-5, 100, 4)
        assert augmentation(name) == (0, False, 0, 0, 0)
        preset = load_preset(name).preset
        assert (preset.data.workers, preset.train.checkpoint_every) == ("auto", "10 min")
    assert settings("cifar10-dvs-vggsnn") == (128, 0.1, 5e-4, 300, 10)
    assert augmentation("cifar10-dvs-vggsnn") == (0, False, 0, 5, 48)


def test_the_papers_figures_equal_its_table_and_all_others_are_not_known():
    table: dict[str, dict[str, list[float]]] = {
        "cifar10-resnet18": {"bptt": [0.9493, 0.9564, 0.9603], "rate_m": [0.9475, 0.9561, 0.9590]},
        "cifar100-resnet18": {"bptt": [0.7709, 0.7793, 0.7835], "rate_m": [0.7597, 0.7826, 0.7902]},
    }
    for name in BUNDLED:
        paper = load_preset(name).preset.paper
        assert (paper is None) == (name in OF_NO_PAPER | SWEEPS)
        if paper is None:
            continue
        if name in PUBLISHED_FOR_BPTT:
            found = [(figure.method, figure.timesteps, figure.top1) for figure in paper.figures]
            assert found == [PUBLISHED_FOR_BPTT[name]]
            assert paper.cell and paper.note and paper.source.endswith("for BPTT")
            continue
        assert paper.cell and paper.source and paper.note and paper.figures
        for method in {figure.method for figure in paper.figures}:
            figures = [figure for figure in paper.figures if figure.method == method]
            steps = [10] if "dvs" in name else [4] if "imagenet" in name else [2, 4, 6]
            assert [figure.timesteps for figure in figures] == steps
            expected = table.get(name, {}).get(method, ["not known"] * len(steps))
            assert [figure.top1 for figure in figures] == expected


def test_the_presets_of_transformers_and_of_membrane_shortcuts_have_their_neurons_and_optimizer():
    for name in TRANSFORMERS:
        preset = load_preset(name).preset
        neuron, optim = preset.neuron, preset.optim
        assert (neuron.decay, neuron.threshold, neuron.reset, neuron.v_reset) == (0.5, 2.0, "hard", 0.0)
        assert (neuron.surrogate, neuron.surrogate_args, neuron.detach_reset) == ("sigmoid", {"alpha": 2.0}, True)
        assert (optim.name, preset.loss.label_smoothing, preset.model.init) == ("adamw", 0.1, "paper")
        assert (preset.method.name, optim.schedule) == ("rate_m", "cosine")
        assert (preset.data.split, preset.data.size) == ("last100", 128 if "dvs" in name else 0)
    for name in MEMBRANE_SHORTCUTS:
        neuron = load_preset(name).preset.neuron
        expected = (0.25, 0.5, "rect") if "ms_resnet" in name else (0.5, 2.0, "sigmoid")
        assert (neuron.decay, neuron.threshold, neuron.surrogate, neuron.reset) == (*expected, "hard")


def test_a_name_is_searched_in_order(places):
    for name in ("digits", "mine"):
        Path(f"{name}.toml").write_text("title = 'the current folder'\n")
    assert load_preset("mine").preset.title == "the current folder"
    assert load_preset("digits").path == (bundled_folder() / "digits.toml").absolute()
    for place, preset in itertools.product(("user", "chosen", "here"), ("digits", "mine")):
        (places[place] / f"{preset}.toml").write_text(f"title = '{place}'\n")
        assert load_preset(preset).preset.title == place


def test_a_name_with_a_separator_or_ending_is_a_path(places):
    (places["here"] / "mine.toml").write_text("title = 'mine'\n")
    assert load_preset("mine").preset.title == "mine"
    assert load_preset("presets/mine.toml").preset.title == "mine"
    for name in ("mine.toml", "./mine", "presets/mine"):
        with pytest.raises(PresetError, match="no such file"):
            load_preset(name)


def test_a_missing_preset_lists_the_places_searched_and_similar_names_and_a_network_is_told_where_it_belongs(places):
    with pytest.raises(PresetError) as caught:
        load_preset("Digit")
    message = str(caught.value)
    assert message.startswith("Digit: 1 problem\n  no preset is called 'Digit'. Did you mean 'digits'?")
    for place in ("./presets", str(places["chosen"]), str(places["user"]), str(bundled_folder())):
        assert place in message
    with pytest.raises(PresetError, match=r"rbp train digits arch=nets\.py:Net"):
        load_preset("nets.py:Net")


def test_where_the_presets_of_rbp_are_those_of_the_folder_both_are_said_to_be_searched(tmp_path, monkeypatch):
    (tmp_path / "presets").symlink_to(bundled_folder())
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PresetError, match=r"Searched: \./presets \(presets; these come with rbp\), "):
        load_preset("digitz")


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 5000, "a\0b", "\udcff"])
def test_a_strange_name_is_a_missing_preset(name):
    with pytest.raises(PresetError, match="no preset is called"):
        load_preset(name)


def test_the_list_has_each_name_once_by_data_set(places):
    (places["here"] / "digits.toml").write_text("title = 'my own'\n")
    entries = list_presets()
    assert sorted(entry.name for entry in entries) == sorted(BUNDLED)
    assert [(entry.group, entry.name) for entry in entries] == sorted((entry.group, entry.name) for entry in entries)
    assert next(entry.group for entry in entries if entry.name == "cifar10-dvs-vggsnn") == "cifar10_dvs"
    assert next(entry.title for entry in entries if entry.name == "digits") == "my own"
    assert not any(entry.problems for entry in entries)
