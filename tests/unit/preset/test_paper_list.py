"""`rbp presets list --paper`."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from rbp_tui.cli import app

MINE = """\
[paper]
cell = "A cell whose name is so long that it has to be folded on a terminal of eighty columns"
source = "a table"
figures = [{ method = "bptt", timesteps = 2, top1 = 0.5 }, { method = "bptt", timesteps = 4, top1 = "not known" }]
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A presets folder that is searched first, with the user's presets."""
    presets = tmp_path / "presets"
    presets.mkdir()
    (presets / "mine.toml").write_text(MINE)
    (presets / "bare.toml").write_text("[paper]\ncell = 'Bare'\n[method]\nname = 'sltt'\ntimesteps = 3\n")
    (presets / "broken.toml").write_text("[paper]\ncell = 3\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("RBP_PRESETS", raising=False)
    return presets


def listed(*words: str) -> Result:
    done = CliRunner().invoke(app, ["presets", "list", "--paper", *words])
    assert done.exit_code == 0, done.output
    return done


def test_each_cell_has_its_figures_by_method_and_the_number_of_its_source() -> None:
    lines = [line.split() for line in listed().stdout.splitlines()]
    first = next(position for position, words in enumerate(lines) if words[:2] == ["CIFAR-10,", "ResNet-18"])
    assert lines[first][2:-1] == ["BPTT", "2,", "4,", "6", "94.93,", "95.64,", "96.03"]
    assert lines[first + 1] == ["cifar10-resnet18", "rate_M", "2,", "4,", "6", "94.75,", "95.61,", "95.90"]
    assert lines[first + 2] == ["rate_S", "2,", "4,", "6", "not", "known"]
    number = lines[first][-1]
    (source,) = [" ".join(words[1:]) for words in lines if words and words[0] == number]
    assert source.startswith("the authors' own table")


def test_the_list_fits_80_columns_without_broken_presets_and_those_without_a_paper() -> None:
    text = listed().stdout
    assert max(map(len, text.splitlines())) <= 80
    words = text.split()
    assert {"mine", "bare", "cifar10-dvs-vggsnn", "imagenet-sew_resnet34"} <= set(words)
    assert not {"digits", "broken", "mnist5k", "digits-spikformer", "digits-sweep"} & set(words)


def test_json_has_an_object_for_each_figure() -> None:
    rows = json.loads(listed("--json").stdout)
    assert [row for row in rows if row["preset"] == "mine"] == [
        {
            "preset": "mine",
            "cell": "A cell whose name is so long that it has to be folded on a terminal of eighty columns",
            "source": "a table",
            "note": "",
            "method": "bptt",
            "timesteps": timesteps,
            "top1": top1,
            "std": 0.0,
            "runs": 0,
        }
        for timesteps, top1 in ((2, 0.5), (4, "not known"))
    ]
    (bare,) = [row for row in rows if row["preset"] == "bare"]
    assert (bare["method"], bare["timesteps"], bare["top1"]) == ("sltt", 3, None)
    # Ten cells of CIFAR, two of ImageNet and one of events; eight of transformers, eight with membrane
    # shortcuts; two of mine and a bare one.
    assert len(rows) == 10 * 9 + 3 * 2 + 8 + 8 + 3


def test_without_any_preset_of_a_paper_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rbp_engine.preset.list_presets", list)
    done = listed()
    assert (done.stdout, "no preset says which cell" in done.stderr) == ("", True)
