"""`rbp presets` as a user runs it: words, files, exit codes."""

import json

import pytest
import tomli

from rbp_engine.preset import fields
from rbp_tui.cli.presets.editor import EditorError, edit_text

CHILD = '''\
title = "A title that is so long that it cannot stand in a list on eighty columns"
description = """
First paragraph.

  A second one, indented, with 'quotes' and \\"others\\", a back\\\\slash, two  spaces,
a\ttab and enough words to be folded somewhere: the membrane keeps a share of itself and fires at the threshold."""
extends = "base"

[optim]
lr = 0.05

[paper]
figures = [{ method = "bptt", timesteps = 2, top1 = 0.9 }, { method = "rate_m", timesteps = 3, top1 = "not known" }]
'''
BASE = '[data]\nname = "cifar100"\n[neuron]\nsurrogate_args = { alpha = 4.0 }\n[optim]\nlr = 0.2\nmomentum = 0.8\n'
BROKEN = '[data]\nname = "cifar10"\n[optim]\nlrr = 1\n[method]\ntimesteps = "4"\n'


@pytest.fixture
def rbp(rbp_here, tmp_path):
    """Run `rbp` in a folder with the presets child, base, broken and unreadable."""
    folder = tmp_path / "presets"
    folder.mkdir()
    for name, text in {"child": CHILD, "base": BASE, "broken": BROKEN, "unreadable": "x =\n"}.items():
        (folder / f"{name}.toml").write_text(text)

    def run(*words, **more):
        rbp_here.environment |= {"COLUMNS": "80"} | more
        return rbp_here("presets", *words, code=None)

    return run


def test_the_list_has_a_line_for_each_preset_and_fits_80_columns(rbp, tmp_path):
    code = tmp_path / ("a" * 70) / "nets.py"
    code.parent.mkdir()
    code.write_text("class Own:\n    pass\n")
    (tmp_path / "presets" / "own.toml").write_text(f"extends = 'digits'\nmodel.name = '{code}:Own'\n")
    done = rbp("list", "--all")
    assert done.returncode == 0
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    by_name = {line.split()[0]: line for line in lines if line.startswith(" ")}
    assert by_name["child"].split()[-5:] == ["convnet", "rate_M", "4", "10", "–"]
    assert by_name["cifar10-resnet18"].split()[-1] == "95.61"
    assert "cannot stand" not in by_name["child"]  # rather no titles than their first letters
    assert "✗ 2 problems" in by_name["broken"] and "✗ 1 problem" in by_name["unreadable"]
    groups = {line.split()[0]: line for line in lines[1:] if not line.startswith(" ")}
    assert "data not here" in groups["cifar10"] and "✓ data here" in groups["digits"]
    assert "rbp presets check broken unreadable" in done.stderr
    assert len(lines) == 1 + len(by_name) + len(groups)
    assert by_name["own"].split()[1] == "nets.py:Own"  # and not its path, which may be long
    assert set(by_name) == {row["name"] for row in json.loads(rbp("list", "--json").stdout)}
    assert "cannot stand in a list on eighty columns" in rbp("list", "--all", COLUMNS="200").stdout


def test_the_list_leaves_presets_without_their_data_out_and_counts_them(rbp):
    every = json.loads(rbp("list", "--json").stdout)
    done = rbp("list")
    shown = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert shown == {row["name"] for row in every if row["data_here"] is not False or row["problems"]}
    assert "digits" in shown and "broken" in shown and "cifar10-resnet18" not in shown
    assert f"left out, without data here: {len(every) - len(shown)} presets (rbp presets list --all)" in done.stderr
    assert "left out" not in rbp("list", "--all").stderr


def test_the_list_as_json(rbp):
    rows = {row["name"]: row for row in json.loads(rbp("list", "--json").stdout)}
    bundled = rows["cifar10-resnet18"]
    assert (bundled["data"], bundled["data_here"], bundled["network"]) == ("cifar10", False, "resnet18")
    assert (bundled["method"], bundled["timesteps"], bundled["paper_top1"]) == ("rate_m", 4, 0.9561)
    assert bundled["problems"] == []
    assert [problem["key"] for problem in rows["broken"]["problems"]] == ["optim.lrr", "method.timesteps"]
    assert rows["broken"]["network"] is None
    assert rows["digits"]["data_here"] is True


def test_show_prints_a_complete_preset_of_the_same_experiment(rbp, tmp_path):
    words = ("child", "T=3", "neuron.surrogate_args.alpha=2", "run.tags=['a', 'b']")
    printed = rbp("show", *words)
    assert printed.returncode == 0 and printed.stderr == ""
    (tmp_path / "again.toml").write_text(printed.stdout)
    first, again = (json.loads(rbp("show", *chosen, "--json").stdout) for chosen in (words, ("again.toml",)))
    assert list(first) == ["name", "path", "preset", "sources", "experiment", "sweep"]
    assert (first["name"], first["path"]) == ("child", str(tmp_path / "presets" / "child.toml"))
    assert first["sources"]["method.timesteps"] == "override"
    assert first["sources"]["optim.lr"] == "presets/child.toml:10"
    assert again["preset"] == first["preset"]
    assert again["experiment"] == first["experiment"]
    assert first["preset"]["description"] == tomli.loads(CHILD)["description"]
    assert f"# experiment {first['experiment'][:16]}" in printed.stdout
    assert "# paper: not known for rate_M, T=3" in printed.stdout


def test_show_says_where_each_value_comes_from(rbp):
    printed = rbp("show", "child", "T=3", "neuron.surrogate_args.alpha=2").stdout
    lines = {line.partition(" = ")[0]: line for line in printed.splitlines() if " = " in line}
    assert lines["lr"].split("  ")[-1].strip() == "# child.toml:10"
    assert lines["momentum"].endswith("# base.toml:7")
    assert lines["timesteps"].endswith("# override")
    assert lines["surrogate_args"].endswith("# base.toml:4, alpha: override")
    assert "#" not in lines["epochs"]
    assert printed.startswith("# presets/child.toml\n# inherits from presets/base.toml\n")


def test_show_gives_the_papers_figure_for_the_method_and_t(rbp):
    assert "# paper: 90.00 % top-1 for BPTT, T=2" in rbp("show", "child", "T=2", "method=bptt").stdout
    assert "# the paper has no figure for BPTT, T=5" in rbp("show", "child", "T=5", "method=bptt").stdout
    assert "# the paper has no figure for rate_M, T=4" in rbp("show", "digits").stdout


def test_show_dims_defaults_on_a_terminal(rbp):
    printed = rbp("show", "child", FORCE_COLOR="1", TERM="xterm", NO_COLOR="").stdout
    assert "\x1b[2mepochs = 10\x1b[0m" in printed
    assert "\x1b[2mlr =" not in printed


def test_a_file_name_cannot_break_out_of_its_comment(rbp, tmp_path):
    (tmp_path / "a\n[train]\nepochs = 1\n.toml").write_text("title = 'x'\n")
    printed = rbp("show", "a\n[train]\nepochs = 1\n.toml").stdout
    assert tomli.loads(printed)["train"]["epochs"] == 10


def test_check_prints_ok_or_every_problem(rbp):
    done = rbp("check", "digits", "presets/broken.toml", "absent")
    assert done.returncode == 2
    assert done.stdout.startswith(
        "digits ok\n"
        "presets/broken.toml: 2 problems\n"
        "  optim.lrr (line 4)         unknown key. Did you mean 'lr'?\n"
        '  method.timesteps (line 6)  expected an integer, got the string "4"\n'
        "absent: 1 problem\n"
    )
    good = rbp("check", "digits", "child")
    assert (good.returncode, good.stdout) == (0, "digits ok\nchild ok\n")


def test_check_without_names_checks_all(rbp):
    done = rbp("check", "--json")
    results = {result["name"]: result for result in json.loads(done.stdout)}
    assert done.returncode == 2
    assert {name for name, result in results.items() if not result["ok"]} == {"broken", "unreadable"}
    assert {"child", "base", "digits"} < set(results)
    assert results["unreadable"]["problems"][0]["line"] == 1


def test_the_schema_as_json_has_every_field(rbp):
    described = json.loads(rbp("schema", "--json").stdout)
    assert [row["key"] for row in described] == [info.key for info in fields()]
    rows = {row["key"]: row for row in described}
    assert rows["method.timesteps"] == {
        "key": "method.timesteps", "type": "integer", "default": 4, "unit": "steps", "role": "result", "short": "T",
        "text": "Number of timesteps T that each image is shown.", "constraints": ">= 1, <= 10000", "choices": [],
    }  # fmt: skip
    assert rows["model.init"]["choices"] == ["kaiming", "paper"]


@pytest.mark.parametrize(
    ("word", "keys"),
    [
        ("optim.lr", ["optim.lr"]),
        ("T", ["method.timesteps"]),
        ("model", ["model.name", "model.args", "model.init", "model.pretrained", "model.pretrained_sha256"]),
        ("decay", ["neuron.decay"]),
        (
            "paper.figures",
            [f"paper.figures{end}" for end in ("", "[].method", "[].timesteps", "[].top1", "[].std", "[].runs")],
        ),
    ],
)
def test_the_schema_of_a_field_a_section_or_a_short_name(rbp, word, keys):
    assert [row["key"] for row in json.loads(rbp("schema", word, "--json").stdout)] == keys


def test_the_schema_as_a_table_fits_80_columns(rbp):
    lines = rbp("schema").stdout.splitlines()
    assert max(map(len, lines)) <= 80
    shown = {line.split()[0] for line in lines}
    assert {info.key for info in fields()} <= shown
    assert "integer >= 1, <= 10000 · unit: steps · changes the result" in " ".join(rbp("schema", "T").stdout.split())


def test_the_schema_of_an_unknown_field_suggests_the_nearest(rbp):
    done = rbp("schema", "optim.lrr")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'optim.lr'?" in done.stderr


def test_a_new_preset_is_written_and_compared_with_its_parent(rbp, rbp_here, tmp_path):
    assert rbp("new", "mine", "--from", "digits", "T=2", "epochs=1").returncode == 0
    text = (tmp_path / "presets" / "mine.toml").read_text()
    assert "timesteps = 2" in text and "momentum" not in text
    assert "exists already" in rbp("new", "mine", "T=3").stderr
    assert "rbp train deep/mine.toml" in rbp("new", "deep/mine").stderr
    found = json.loads(rbp("diff", "mine", "--json").stdout)
    assert (found["here"], found["there"]) == ("mine", "digits")
    assert found["differences"] == [
        {"key": "method.timesteps", "here": 2, "there": 4, "role": "result"},
        {"key": "train.epochs", "here": 1, "there": 20, "role": "result"},
    ]
    assert rbp("diff", "mine", "digits").stdout == rbp("diff", "mine").stdout
    assert "same settings" in rbp("diff", "mine", "mine").stderr
    assert json.loads(rbp("diff", "digits", "--json").stdout)["there"] == "defaults"
    assert rbp_here.json("train", "mine", "--dry-run")["preset"]["method"]["timesteps"] == 2


def test_an_editor_that_no_shell_could_start_is_named(monkeypatch):
    monkeypatch.delenv("VISUAL", raising=False)
    for editor, why in (("vi 'mine", "No closing quotation"), ("no-such-editor -w", "No such file or directory")):
        monkeypatch.setenv("EDITOR", editor)
        with pytest.raises(EditorError, match=f"cannot start {editor}: {why}"):
            edit_text("a note")
