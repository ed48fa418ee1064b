"""`rbp presets new`, `edit` and `diff` with a real editor: a shell script."""

import json
import stat
from collections.abc import Callable
from pathlib import Path

import pytest


@pytest.fixture
def editor(rbp, tmp_path: Path) -> Callable[[str], None]:
    """Set $EDITOR to a shell script; $1 is the file."""

    def use(script: str) -> None:
        path = tmp_path / "editor"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        rbp.environment["EDITOR"] = str(path)

    return use


def presets(rbp) -> dict[str, str]:
    return {path.name: path.read_text() for path in (rbp.folder / "presets").glob("*")}


def test_a_new_preset_is_written_and_compared_with_its_parent(rbp):
    rbp("presets", "new", "mine", "--from", "digits", "T=2", "epochs=1")
    assert "timesteps = 2" in presets(rbp)["mine.toml"] and "momentum" not in presets(rbp)["mine.toml"]
    assert "exists already" in rbp("presets", "new", "mine", "T=3", code=2).stderr
    assert rbp.json("presets", "diff", "mine") == {
        "here": "mine",
        "there": "digits",
        "differences": [
            {"key": "method.timesteps", "here": 2, "there": 4, "role": "result"},
            {"key": "train.epochs", "here": 1, "there": 20, "role": "result"},
        ],
    }
    assert rbp("presets", "diff", "mine", "digits").stdout == rbp("presets", "diff", "mine").stdout
    assert "same settings" in rbp("presets", "diff", "mine", "mine").stderr
    assert rbp.json("presets", "diff", "digits")["there"] == "defaults"
    assert rbp.json("train", "mine", "--dry-run")["preset"]["method"]["timesteps"] == 2


def test_an_edit_reaches_the_file_and_leaves_no_draft(rbp, editor):
    rbp("presets", "new", "mine", "T=2")
    (rbp.folder / "presets" / "mine.toml").chmod(0o640)
    editor("echo '# kept' >> $1; sed -i 's/timesteps = 2/timesteps = 3/' $1")
    rbp("presets", "edit", "mine")
    assert list(presets(rbp)) == ["mine.toml"]
    assert "timesteps = 3" in presets(rbp)["mine.toml"] and presets(rbp)["mine.toml"].endswith("# kept\n")
    assert stat.S_IMODE((rbp.folder / "presets" / "mine.toml").stat().st_mode) == 0o640
    editor("true")
    assert "nothing was changed" in rbp("presets", "edit", "mine").stderr
    assert list(presets(rbp)) == ["mine.toml"]


def test_a_bad_edit_is_kept_as_a_draft_until_corrected(rbp, editor):
    rbp("presets", "new", "mine", "T=2")
    before = presets(rbp)["mine.toml"]
    editor("sed -i 's/timesteps = 2/timestep = 2/' $1")
    refused = rbp("presets", "edit", "mine", stdin="n\nn\n", code=2)
    assert "Did you mean 'timesteps'?" in refused.stderr and "presets/mine.toml: 1 problem" in refused.stderr
    assert presets(rbp)["mine.toml"] == before and "timestep = 2" in presets(rbp)[".mine.draft.toml"]
    assert "mine" in {entry["name"] for entry in rbp.json("presets", "list")}
    rbp("presets", "edit", "mine", stdin="", code=1)  # no answer: the draft stays
    assert "timestep = 2" in presets(rbp)[".mine.draft.toml"]
    editor("sed -i 's/timestep = 2/timesteps = 5/' $1")
    rbp("presets", "edit", "mine", stdin="y\n")
    assert list(presets(rbp)) == ["mine.toml"] and "timesteps = 5" in presets(rbp)["mine.toml"]
    editor("echo 'x = 1' >> $1")
    rbp("presets", "edit", "mine", stdin="n\ny\n")  # save it as it is
    assert list(presets(rbp)) == ["mine.toml"] and "x = 1" in presets(rbp)["mine.toml"]


def test_a_concurrent_change_by_another_program_is_not_lost(rbp, editor):
    rbp("presets", "new", "mine", "T=2")
    editor(f"echo '# mine' >> $1; echo '# theirs' >> {rbp.folder}/presets/mine.toml")
    assert "changed meanwhile" in rbp("presets", "edit", "mine", stdin="n\n", code=2).stderr
    assert "# theirs" in presets(rbp)["mine.toml"] and "# mine" in presets(rbp)[".mine.draft.toml"]


def test_editing_a_bundled_preset_offers_to_edit_a_copy(rbp, editor):
    editor("echo '# mine' >> $1")
    assert not (rbp.folder / "presets").exists()
    rbp("presets", "edit", "digits", stdin="n\n")
    assert not (rbp.folder / "presets").exists()
    rbp("presets", "edit", "digits", stdin="y\n")
    assert presets(rbp)["digits.toml"].endswith("# mine\n")
    assert rbp.json("presets", "show", "digits")["path"] == str(rbp.folder / "presets" / "digits.toml")


def test_an_edit_where_nothing_can_be_written_is_one_message(rbp, editor):
    editor("echo '# mine' >> $1")
    (rbp.folder / "presets").touch()  # a file, so that there can be no folder
    said = rbp("presets", "edit", "digits", stdin="y\n", code=2).stderr
    assert "presets/.digits.draft.toml: 1 problem\n  cannot be written: File exists" in said


@pytest.mark.parametrize("command", ["false", "no-such-editor"])
def test_an_editor_that_fails_leaves_everything_as_it_was(rbp, command):
    rbp("presets", "new", "mine", "T=2")
    rbp.environment["EDITOR"] = command
    assert command in rbp("presets", "edit", "mine", code=2).stderr
    assert list(presets(rbp)) == ["mine.toml"]
    assert json.loads(rbp("presets", "check", "mine", "--json").stdout)[0]["ok"]
