"""`[sweep]` of a preset is checked as strictly as the rest, and no run sees it."""

from pathlib import Path

import pytest

from rbp_engine.preset import PresetError, load_preset, load_text, read_resolved, resolved_toml
from rbp_engine.preset.sweep.section import Varied


def problems_of(text: str, path: Path) -> list[str]:
    with pytest.raises(PresetError) as error:
        load_text(text, path)
    return [f"{problem.line} {problem.key}: {problem.message}" for problem in error.value.problems]


def test_settings_by_any_of_their_names_and_everything_else_are_read(tmp_path):
    text = """
extends = "digits"
[sweep]
seeds = [1, 2]
trials = 5
[sweep.grid]
method = ["bptt", "rate_m"]
"method.timesteps" = [2, 4]
neuron.decay = [0, 0.5]
neuron.surrogate_args.alpha = [1, 2.5]
data.flip = [false]
[sweep.random]
lr = {from = 0.01, to = 0.5, log = true}
batch = {from = 16, to = 64}
neuron.threshold = [0.5, 1.0]
"""
    section = load_text(text, tmp_path / "a.toml").sweep
    assert section.seeds == (1, 2) and section.trials == 5 and section.listed == ()
    assert section.grid == (
        Varied("method", ("bptt", "rate_m")),
        Varied("T", ("2", "4")),
        Varied("neuron.decay", ("0", "0.5")),
        Varied("neuron.surrogate_args.alpha", ("1", "2.5")),
        Varied("data.flip", ("false",)),
    )
    assert section.drawn == (
        Varied("lr", low=0.01, high=0.5, log=True),
        Varied("batch", low=16, high=64, whole=True),
        Varied("neuron.threshold", ("0.5", "1.0")),
    )


def test_every_problem_is_named_at_once_with_its_line_and_the_nearest_spelling(tmp_path):
    text = """extends = "digits"
[train]
epochs = -1
[sweep]
seeds = [1, 1, "x"]
trails = 3
search = "tpa"
[sweep.grid]
metod = ["bptt"]
method = ["bptt", "rate"]
T = 4
seed = [1, 2]
run.name = ["a"]
[[sweep.list]]
lr = 0.1
[sweep.random]
optim.lr = {from = 0.5, to = 0.1}
T = [2]
batch = {form = 1, to = 2.5}
"""
    found = problems_of(text, tmp_path / "a.toml")
    assert ", ".join(line.partition(":")[0] for line in found) == (
        "5 sweep.seeds[2], 6 sweep.trails, 7 sweep.search, 9 sweep.grid.metod, 10 sweep.grid.method[1], "
        "11 sweep.grid.T, 12 sweep.grid.seed, 13 sweep.grid.run.name, 14 sweep.list, 16 sweep.random, "
        "17 sweep.random.optim.lr.from, 18 sweep.random.T, 19 sweep.random.batch.from, "
        "19 sweep.random.batch.form, 3 train.epochs"
    )
    text = "\n".join(found)
    assert "Did you mean 'trials'?" in text and "Did you mean 'tpe'?" in text and "Did you mean 'from'?" in text
    assert "method" in found[3] and "expected one of" in found[4]


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("seeds = [3, 1, 3]", "sweep.seeds: 3 is there twice"),
        ("seeds = []", "sweep.seeds: expected at least one"),
        ("trials = 1001", "must be at most 1000"),
        ("seeds = 1", "expected an array, got the integer 1"),
        ("grid = 3", "expected a table, got the integer 3"),
        ("[sweep.grid]\nT = [2, 2]", "sweep.grid.T: 2 is there twice"),
        ("[sweep.grid]\nT = []", "expected at least one value"),
        ('[sweep.random]\nlr = {from = "0.1", to = 1}', 'from: expected a number, got the string "0.1"'),
        ("[sweep.random]\nlr = {from = 0, to = 1, log = true}", "more than 0.0, got the integer 0"),
        ("[sweep.random]\nneuron.v_reset = {from = 0, to = 1, log = true}", "a logarithm needs numbers over 0"),
        ("[sweep.random]\nlr = {from = -1, to = 1}", "lr.from: must be more than 0"),
        (
            "[[sweep.list]]\nmethod.loss_scale = 1",
            "method.loss_scale: expected one of 1/T, 1, got the integer 1. Write it",
        ),
    ],
)
def test_what_a_value_must_be_is_said_in_the_words_of_other_sections(written, told, tmp_path):
    found = problems_of(f'extends = "digits"\n[sweep]\n{written}\n', tmp_path / "a.toml")
    assert any(told in one for one in found), found


def test_an_unknown_section_may_have_been_meant_to_be_it(tmp_path):
    assert "Did you mean 'sweep'?" in problems_of('extends = "digits"\n[swep]\n', tmp_path / "a.toml")[0]


def test_it_is_taken_whole_from_the_nearest_file_that_has_one(tmp_path):
    (tmp_path / "base.toml").write_text('extends = "digits"\n[sweep]\nseeds = [1, 2]\n[sweep.grid]\nT = [2, 4]\n')
    child = tmp_path / "child.toml"
    child.write_text('extends = "base"\n')
    inherited = load_preset(str(child)).sweep
    assert inherited.seeds == (1, 2)
    child.write_text('extends = "base"\n[[sweep.list]]\nlr = 0.2\n')
    own = load_preset(str(child)).sweep
    assert own.seeds == () and own.grid == () and own.listed == (("lr=0.2",),)
    (tmp_path / "base.toml").write_text('extends = "digits"\n[sweep]\nseeds = 1\n')
    child.write_text('extends = "base"\n')
    with pytest.raises(PresetError, match=r"sweep.seeds \(.*base.toml line 3\)"):
        load_preset(str(child))


def test_it_changes_neither_the_settings_nor_the_experiment_and_reaches_no_run(tmp_path):
    path = tmp_path / "a.toml"
    path.write_text('extends = "digits"\n[sweep.grid]\nT = [2, 4]\n')
    loaded, plain = load_preset(str(path)), load_preset("digits")
    assert loaded.experiment == plain.experiment
    assert loaded.preset.method == plain.preset.method
    assert "sweep" not in resolved_toml(loaded.preset)
    path.write_text(resolved_toml(loaded.preset) + "\n[sweep.grid]\nT = [2, 4]\n")
    with pytest.raises(PresetError, match=r"sweep .*of one run"):
        read_resolved(path)


def test_a_file_of_own_code_is_found_beside_the_preset_from_anywhere(tmp_path, monkeypatch):
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "nets.py").write_text("A = B = 1\n")
    path = folder / "a.toml"
    path.write_text('extends = "digits"\n[sweep.grid]\narch = ["nets.py:A", "nets.py:B"]\n')
    for here in (tmp_path, folder, Path("/")):
        monkeypatch.chdir(here)
        section = load_preset(str(path)).sweep
        for word in section.grid[0].words:
            assert load_preset("digits", [word]).own_code["model.name"].path.samefile(folder / "nets.py")


@pytest.mark.parametrize(
    "section",
    [
        f"seeds = {list(range(100_000))}",
        f"[sweep.grid]\nlr = {[number / 1e5 for number in range(1, 50_000)]}",
        "\n".join(["[[sweep.list]]\nlr = 0.1"] * 20_000),
        "[sweep.random]\n" + "\n".join(f"a{number} = [1]" for number in range(200)),
    ],
    ids=["seeds", "values", "combinations", "unknown keys"],
)
def test_a_section_larger_than_any_is_refused_in_a_moment(section, tmp_path):
    assert problems_of(f'extends = "digits"\n[sweep]\n{section}\n', tmp_path / "a.toml")


def test_a_search_has_a_space_and_what_belongs_to_it(tmp_path):
    path = tmp_path / "a.toml"
    space = "[sweep.random]\nlr = {from = 0.01, to = 0.5, log = true}\n"
    path.write_text(f'extends = "digits"\n[sweep]\nsearch = "tpe"\nprune = "median"\n{space}')
    section = load_preset(str(path)).sweep
    assert (section.search, section.prune, section.trials) == ("tpe", "median", 0)
    for text, message in (
        ('search = "tpe"', "there is nothing to search"),
        ('search = "tpf"\n' + space, "expected tpe, the only choice, got"),
        ('search = "tpe"\nprune = "medium"\n' + space, "Did you mean 'median'?"),
        ('search = "tpe"\nprune = "median"\nseeds = [1, 2]\n' + space, "a search trains each trial once"),
        ('trials = 3\nprune = "median"\n' + space, "belongs to a search"),
    ):
        assert any(message in problem for problem in problems_of(f'extends = "digits"\n[sweep]\n{text}', path))
