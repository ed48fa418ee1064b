from pathlib import Path

import pytest

from rbp_engine.preset import PresetError, list_presets, load_preset
from rbp_engine.preset.search import bundled_folder

BUNDLED = {"digits", "mnist5k", "cifar10-resnet18", "cifar100-resnet18", "cifar10-vgg11"}


@pytest.fixture(autouse=True)
def places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The folders of the search order that a user can fill, first to last."""
    folders = {name: tmp_path / name / "presets" for name in ("here", "chosen", "user")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("RBP_PRESETS", str(folders["chosen"]))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "user"))
    return folders


def test_all_five_bundled_presets_are_good() -> None:
    files = list(bundled_folder().rglob("*.toml"))
    assert len(files) == 5
    assert {load_preset(str(path)).name for path in files} == BUNDLED
    for path in files:
        preset = load_preset(str(path)).preset
        assert preset.title and preset.description


def test_figures_of_the_paper_are_those_of_its_table() -> None:
    table: dict[str, dict[str, list[float] | list[str]]] = {
        "cifar10-resnet18": {"bptt": [0.9493, 0.9564, 0.9603], "rate_m": [0.9475, 0.9561, 0.9590]},
        "cifar100-resnet18": {"bptt": [0.7709, 0.7793, 0.7835], "rate_m": [0.7597, 0.7826, 0.7902]},
        "cifar10-vgg11": {"bptt": ["not known"] * 3, "rate_m": ["not known"] * 3},
    }
    for name, rows in table.items():
        paper = load_preset(name).preset.paper
        assert paper is not None
        for method, row in rows.items():
            figures = [figure for figure in paper.figures if figure.method == method]
            assert [figure.timesteps for figure in figures] == [2, 4, 6]
            assert [figure.top1 for figure in figures] == row


def test_a_name_is_looked_for_in_order(places: dict[str, Path]) -> None:
    assert load_preset("digits").path == (bundled_folder() / "digits.toml").absolute()
    for name in ("user", "chosen", "here"):
        (places[name] / "digits.toml").write_text(f"title = '{name}'\n")
        assert load_preset("digits").preset.title == name


def test_a_name_with_a_separator_or_ending_is_a_path(places: dict[str, Path]) -> None:
    (places["here"] / "mine.toml").write_text("title = 'mine'\n")
    assert load_preset("mine").preset.title == "mine"
    assert load_preset("presets/mine.toml").preset.title == "mine"
    for name in ("mine.toml", "./mine", "presets/mine"):
        with pytest.raises(PresetError, match="no such file"):
            load_preset(name)


def test_a_missing_preset_lists_what_was_searched_and_what_is_near(places: dict[str, Path]) -> None:
    with pytest.raises(PresetError) as caught:
        load_preset("Digit")
    message = str(caught.value)
    assert message.startswith("Digit: 1 problem\n  no preset is called 'Digit'. Did you mean 'digits'?")
    for place in ("./presets", str(places["chosen"]), str(places["user"]), str(bundled_folder())):
        assert place in message


@pytest.mark.parametrize("name", ["", ".", "..", "x" * 5000, "a\0b", "\udcff"])
def test_a_strange_name_is_a_missing_preset(name: str) -> None:
    with pytest.raises(PresetError, match="no preset is called"):
        load_preset(name)


def test_the_list_has_each_name_once_by_data_set(places: dict[str, Path]) -> None:
    (places["here"] / "digits.toml").write_text("title = 'my own'\n")
    entries = list_presets()
    assert [entry.name for entry in entries] == [
        "cifar10-resnet18", "cifar10-vgg11", "cifar100-resnet18", "digits", "mnist5k"
    ]  # fmt: skip
    assert [entry.group for entry in entries] == ["cifar10", "cifar10", "cifar100", "digits", "mnist5k"]
    assert entries[3].title == "my own"
    assert all(entry.problem_count == 0 for entry in entries)


def test_the_list_has_broken_presets_with_their_problems(places: dict[str, Path]) -> None:
    (places["here"] / "bad.toml").write_text("title = 'Bad'\n[data]\nname = 'cifar10'\nbatch = 1\nflip = 1\n")
    (places["here"] / "worse.toml").write_bytes(b"\xff")
    (places["here"] / "folder.toml").mkdir()
    (places["here"] / ".hidden.toml").touch()
    entries = {entry.name: entry for entry in list_presets()}
    assert set(entries) == BUNDLED | {"bad", "worse", "folder"}
    assert (entries["bad"].title, entries["bad"].group, entries["bad"].problem_count) == ("Bad", "cifar10", 2)
    assert entries["worse"].problem_count == entries["folder"].problem_count == 1
