"""Presets, their parents and own code as somebody else may have made them: refused at once, in one sentence each."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rbp_engine.preset import PresetError, list_presets, load_preset, read_resolved
from rbp_engine.preset.author import create_from_run
from rbp_engine.settings.problems import Problem
from rbp_tui.cli import app


@pytest.fixture(autouse=True)
def folder(folder):
    """The folder of presets in the current one, which stands first in the search order."""
    (folder / "presets").mkdir()
    return folder / "presets"


def only_problem(read: Callable[[], object], where: str | None = None) -> Problem:
    with pytest.raises(PresetError, match=where) as caught:
        read()
    (problem,) = caught.value.problems
    return problem


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(2**40)


FILES: dict[str, tuple[Callable[[Path], None], str]] = {
    "pipe": (os.mkfifo, "a named pipe, not a file"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "a device, not a file"),
    "itself": (lambda path: path.symlink_to(path.name), "Too many levels of symbolic links"),
    "folder": (Path.mkdir, "a directory, not a file"),
    "huge": (_sparse, "larger than"),
    "gone": (lambda path: path.symlink_to("nowhere"), "o such file"),
}


@pytest.mark.parametrize("kind", FILES)
def test_a_preset_a_parent_a_runs_preset_and_own_code_that_cannot_be_read_are_refused(folder, kind):
    make, reason = FILES[kind]
    for name in ("odd.toml", "odd.py"):
        make(folder / name)
    (folder / "child.toml").write_text("extends = 'odd'\n")
    (folder / "model.toml").write_text("[model]\nname = 'odd.py:Net'\n")
    for read in (
        lambda: load_preset("odd"),
        lambda: load_preset("child"),
        lambda: load_preset("model"),
        lambda: load_preset("digits", ["data=presets/odd.py:numbers"]),
        lambda: read_resolved(folder / "odd.toml"),
    ):
        problem = only_problem(read, "odd")
        assert reason in problem.message and "\n" not in problem.message


def test_bad_presets_are_listed_by_name_beside_the_good_ones(folder):
    for kind, (make, _) in FILES.items():
        make(folder / f"{kind}.toml")
    (folder / "sp ace[red].toml").write_text("x = 1")
    (folder / "two.toml").write_text("title = 'Bad'\n[data]\nname = 'cifar10'\nbatch = 1\nflip = 1\n")
    (folder / ".hidden.toml").touch()
    (folder / "good.toml").write_text("title = 'mine'")
    broken = {entry.name: entry for entry in list_presets() if entry.problems}
    assert broken.keys() == {*FILES, "sp ace[red]", "two"}
    assert (broken["two"].title, broken["two"].group, len(broken["two"].problems)) == ("", "", 2)
    done = CliRunner().invoke(app, ["presets", "list"], env={"COLUMNS": "200"})
    assert done.exit_code == 0
    assert "mine" in done.stdout and "digits" in done.stdout
    assert "rbp presets check" in done.output and "'sp ace[red]'" in done.output


@pytest.mark.parametrize(
    "name", ["a\\u0000.py:Net", "a\\n.py:Net", "\\u001b[2J.py:Net", "~nobody-of-this-name/a.py:Net"]
)
def test_a_name_of_own_code_that_no_file_has_is_one_problem(folder, name):
    (folder / "odd.toml").write_text(f'[model]\nname = "{name}"\n')
    problem = only_problem(lambda: load_preset("odd"))
    assert problem.key == "model.name" and problem.message.isprintable()


def test_a_chain_of_presets_is_at_most_32_long_and_its_end_is_named(folder):
    keys = "".join(f"key{number} = {number}\n" for number in range(1000))
    for number in range(600):
        parent = f"extends = 'p{number + 1}'\n" if number < 599 else ""
        (folder / f"p{number}.toml").write_text(f"{parent}title = 'p{number}'\n[model.args]\n{keys}")
    (folder / "net.py").write_text("def net(): pass\n")
    (folder / "p599.toml").write_text("[model]\nname = 'net.py:net'\n")
    assert load_preset("p568").sources["model.name"] == "presets/p599.toml:2"
    with pytest.raises(PresetError) as caught:
        load_preset("p0")
    message = "presets/p31.toml: 1 problem\n  extends (line 1)  one too many: already 32 presets"
    assert str(caught.value).startswith(message)


def test_what_is_wrong_with_many_keys_is_told_of_the_first_and_thousands_are_refused(folder):
    (folder / "many.toml").write_text("".join(f"key{number} = {number}\n" for number in range(120)))
    with pytest.raises(PresetError) as caught:
        load_preset("many")
    lines = str(caught.value).splitlines()
    assert lines[0] == "presets/many.toml: 120 problems"
    assert (len(lines), lines[-1]) == (52, "  and 70 more")
    (folder / "many.toml").write_text("".join(f"key{number} = {number}\n" for number in range(4001)))
    with pytest.raises(PresetError, match="more than 4000 keys"):
        load_preset("many")


@pytest.mark.parametrize(
    ("begin", "again", "end"), [("x = f'", "{1}", "'"), ("x = ", "1if 1else ", "1"), ("", "-", "1")]
)
def test_own_code_that_is_hard_to_parse_is_one_problem(folder, begin, again, end):
    (folder / "slow.py").write_text(begin + again * (900_000 // len(again)) + end)
    (folder / "odd.toml").write_text("[model]\nname = 'slow.py:Net'\n")
    with pytest.raises(PresetError, match=r"slow.py (has no class or function called 'Net'|is not usable)"):
        load_preset("odd")
    (folder / "slow.py").write_text(f"class Net: pass\n#{' ' * 65536}")
    assert load_preset("odd").own_code["model.name"].path.name == "slow.py"


@pytest.mark.parametrize(("section", "name"), [("model", "/abs/x.py:Y"), ("data", "sub/x.py:Y"), ("model", "~/x.py:Y")])
def test_a_runs_preset_names_only_code_in_the_runs_own_folder(folder, tmp_path, section, name):
    (tmp_path / "run" / "code").mkdir(parents=True)
    path = tmp_path / "run" / "preset.toml"
    path.write_text(f"[{section}]\nname = '{name}'\n")
    for read in (
        lambda: read_resolved(path),
        lambda: load_preset(str(path), code=tmp_path / "run" / "code"),
        lambda: create_from_run(folder / "copy.toml", path, tmp_path / "run" / "code", "of a run"),
    ):
        problem = only_problem(read)
        assert (problem.key, problem.line) == (f"{section}.name", 2)
        assert problem.message == (
            "a run executes only what is in its own folder of code: expected a file's name without folders, "
            f'got the string "{name}"'
        )
    assert not (folder / "copy.toml").exists()


def test_a_users_own_preset_and_overrides_of_a_run_may_name_code_anywhere(folder, tmp_path):
    (tmp_path / "nets.py").write_text("class Net: pass\n")
    (folder / "mine.toml").write_text("[model]\nname = '../nets.py:Net'\n")
    assert load_preset("mine").own_code["model.name"].path == folder / "../nets.py"
    (tmp_path / "code").mkdir()
    (tmp_path / "preset.toml").touch()
    again = load_preset("preset.toml", [f"arch={tmp_path}/nets.py:Net"], code=tmp_path / "code")
    assert again.own_code["model.name"].path == tmp_path / "nets.py"


def test_a_runs_preset_has_no_parent(tmp_path):
    (tmp_path / "preset.toml").write_text("extends = 'digits'\n")
    for read in (lambda: load_preset("preset.toml", code=tmp_path), lambda: read_resolved(Path("preset.toml"))):
        with pytest.raises(PresetError, match="a resolved preset has no parent"):
            read()


def test_warnings_of_python_do_not_quote_own_code(folder):
    (folder / "nets.py").write_text("class Net: pass\nx = 1if 1else 2\ny = '\\d'\n")
    (folder / "mine.toml").write_text("[model]\nname = 'nets.py:Net'\n")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        load_preset("mine")
