import shlex
from pathlib import Path

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.report.cells import make_cells
from rbp_engine.report.collect import collect
from rbp_engine.report.paper import MissingRun, PaperCell, missing_runs, paper_cells, published
from rbp_engine.run.store.store import run_directories

PRESET = """\
[method]
timesteps = 2
[paper]
figures = [
    { method = "bptt", timesteps = 2, top1 = 0.9 },
    { method = "rate_m", timesteps = 2, top1 = "not known" },
]
"""


@pytest.fixture
def presets(tmp_path, monkeypatch):
    """A folder of presets in the place of the bundled ones, which take long to load; `cell` has two figures."""
    folder = tmp_path / "presets"
    folder.mkdir()
    (folder / "cell.toml").write_text(PRESET)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rbp_engine.preset.find.bundled_folder", lambda: folder)
    return folder


def missing(runs: Path, preset: str = "cell") -> list[MissingRun]:
    return missing_runs(run_directories(runs), paper_cells([preset])[0])


@pytest.mark.parametrize(
    ("words", "figure"), [(("method=bptt",), 0.9), ((), "not known"), (("T=3",), None), (("method=bptt", "T=3"), None)]
)
def test_the_papers_figure_belongs_to_the_same_method_and_timesteps(presets, words, figure):
    assert published(load_preset("cell", words).preset) == figure


def test_a_preset_without_a_paper_has_no_figure():
    assert published(load_preset("digits").preset) is None


@pytest.mark.usefixtures("presets")
def test_every_cell_wants_three_seeds_and_a_completed_run_fills_one(finish_run, runs):
    assert [(one.cell.method, one.cell.timesteps, one.seed) for one in missing(runs)] == [
        (method, 2, seed) for method in ("bptt", "rate_m") for seed in (1, 2, 3)
    ]
    finish_run("cell", "method=bptt", "seed=2")
    assert [(one.cell.method, one.seed) for one in missing(runs)][:3] == [("bptt", 1), ("bptt", 3), ("rate_m", 1)]


@pytest.mark.usefixtures("presets")
def test_other_settings_other_seeds_and_unfinished_runs_fill_no_cell(finish_run, runs):
    finish_run("cell", "method=bptt", "seed=1", "lr=0.05")
    finish_run("cell", "method=bptt", "seed=4")
    finish_run("cell", "method=bptt", "seed=1", status="failed")
    assert len(missing(runs)) == 6


@pytest.mark.usefixtures("presets")
def test_a_live_run_is_named(finish_run, runs):
    run = finish_run("cell", "method=bptt", "seed=1", status="running")
    assert [one.live for one in missing(runs)][:2] == [run.id, None]


def test_broken_presets_and_cells_are_reported_and_the_others_remain(presets):
    (presets / "broken.toml").write_text("[optim]\nlrr = 1\n")
    (presets / "odd.toml").write_text('[paper]\nfigures = [{ method = "magic", timesteps = 2 }]\n')
    found, troubles = paper_cells()
    assert len([one for one in found if one.preset == "cell"]) == 2
    assert [trouble.split(":")[0] for trouble in troubles] == ["preset broken", "preset odd, magic, T = 2"]


def test_a_command_survives_the_shell():
    cell = PaperCell("my preset", "digits", "mlp", "rate_m", 4, None, 0.0, "")
    words = shlex.split(MissingRun(cell, 1, None).command(Path("/some where/runs")))
    assert words == [
        "rbp", "train", "my preset", "method=rate_m", "T=4", "seed=1", "--runs-dir", "/some where/runs",
    ]  # fmt: skip


def test_a_figure_with_its_deviation_and_number_of_runs_has_a_standard_error(presets):
    figure = '{ method = "bptt", timesteps = 2, top1 = 0.9, std = 0.002, runs = 3 }'
    (presets / "exact.toml").write_text(f"[method]\ntimesteps = 2\n[paper]\nfigures = [{figure}]\n")
    ((exact,), _) = paper_cells(["exact"])
    assert exact.standard_error == pytest.approx(0.002 / 3**0.5)
    assert all(one.standard_error == 0.0 for one in paper_cells(["cell"])[0])


@pytest.mark.parametrize("network", ["resnet18", "vgg11"])
def test_a_run_of_a_sweep_has_the_figure_of_the_cell_that_it_repeats(finish_run, network):
    entries, _ = collect([finish_run("paper-cifar10", f"arch={network}", "method=bptt", "T=2")])
    (cell,) = make_cells(entries)
    assert cell.paper == {"resnet18": 0.9493, "vgg11": "not known"}[network]
    assert not any(note.startswith("departs") for note in cell.notes)
