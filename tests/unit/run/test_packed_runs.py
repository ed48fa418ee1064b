"""A run as one file, packed and unpacked."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import BinaryIO

import pytest

from rbp_engine.preset import load_preset
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.files.summary import load_summary, write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.pack import packing
from rbp_engine.run.pack.packing import pack, unpack
from tests.packed_runs import files_of


def test_an_unpacked_run_has_the_files_of_the_packed_one_and_none_of_its_processes(packed_run, tmp_path):
    pack(packed_run, tmp_path / "own.zip")
    there, _ = unpack(tmp_path / "own.zip", tmp_path / "there")
    gone = {"control/stop", "control/reserve", "code/__pycache__/nets.pyc"}
    gone.add("checkpoints/step-00000015.tmp/model.safetensors")
    assert files_of(there) == {name: text for name, text in files_of(packed_run).items() if name not in gone}
    assert there.path == tmp_path / "there" / "own"
    assert not list((tmp_path / "there").glob(".*"))


def test_names_of_any_run_pass(packed_run, tmp_path):
    run = RunDirectory(packed_run.path.rename(packed_run.path.with_name("x" * 120)))
    long = f"tensorboard/events.out.tfevents.1795926653.{'host' * 16}.26213.0"
    (run.path / long).parent.mkdir()
    (run.path / long).write_text("events")
    pack(run, tmp_path / "own.zip")
    there, _ = unpack(tmp_path / "own.zip", tmp_path / "there")
    assert (there.path / long).read_text() == "events"
    assert there.id == load_summary(there).id == read_run_json(there).id == run.id, "the folder's name, not the old one"


def test_unpacking_that_takes_hours_is_not_disturbed_by_a_run_that_is_made_meanwhile(packed_run, tmp_path, monkeypatch):
    pack(packed_run, tmp_path / "own.zip")
    hours_ago = time.time() - 7200

    def problem(name: str, path: Path) -> str:
        os.utime(next(folder for folder in path.parents if folder.name.startswith(".")), (hours_ago, hours_ago))
        launch.create(load_preset("digits"), tmp_path / "there")
        return ""

    monkeypatch.setattr(packing, "weights_problem", problem)
    there, _ = unpack(tmp_path / "own.zip", tmp_path / "there")
    assert load_summary(there).id == "own"


@pytest.mark.parametrize(
    ("weights", "folders"),
    [
        ("all", {"best", "step-00000005", "step-00000010"}),
        ("best", {"best"}),
        ("last", {"step-00000010"}),
        ("none", set()),
    ],
)
def test_the_checkpoints_can_be_chosen(packed_run, tmp_path, weights, folders):
    pack(packed_run, tmp_path / "own.zip", weights)
    there, _ = unpack(tmp_path / "own.zip", tmp_path / "there")
    assert {path.name for path in there.checkpoints.iterdir()} == folders


def test_an_id_that_is_taken_is_refused_and_another_can_be_given(packed_run, tmp_path):
    pack(packed_run, tmp_path / "own.zip")
    with pytest.raises(RunError, match=r"a run own exists already in .*: give it another id with --as"):
        unpack(tmp_path / "own.zip", packed_run.path.parent)
    there, _ = unpack(tmp_path / "own.zip", packed_run.path.parent, "theirs")
    assert load_summary(there).id == json.loads(there.run_json.read_text())["id"] == "theirs"
    assert load_summary(packed_run).id == "own"
    with pytest.raises(RunError, match="cannot be the id of a run"):
        unpack(tmp_path / "own.zip", packed_run.path.parent, "../theirs")


def test_what_cannot_be_packed_is_refused_with_the_reason_and_nothing_is_written(packed_run, tmp_path):
    (tmp_path / "there.zip").write_text("mine")
    for place, why in (
        ("there.zip", r"there\.zip is there already"),
        ("there.zip/own.zip", "cannot pack own: .*: Not a directory"),
    ):
        with pytest.raises(RunError, match=why):
            pack(packed_run, tmp_path / place)
    notes, link = packed_run.checkpoints / "best" / "notes.txt", packed_run.path / "more"
    notes.write_text("the good one")
    with pytest.raises(RunError, match=r"checkpoints/best/notes.txt is no file of a checkpoint"):
        pack(packed_run, tmp_path / "own.zip")
    notes.unlink()
    link.symlink_to("/etc/passwd")
    with pytest.raises(RunError, match="more is a link, which no run makes"):
        pack(packed_run, tmp_path / "own.zip")
    link.unlink()
    (packed_run.code / "more.py").write_bytes(bytes(2**20 + 1))
    with pytest.raises(RunError, match=r"own: .*/more\.py is larger than"):
        pack(packed_run, tmp_path / "own.zip")
    (packed_run.code / "more.py").unlink()
    write_status(packed_run, "queued")
    with pytest.raises(RunError, match="own is queued: stop or kill it first"):
        pack(packed_run, tmp_path / "own.zip")
    assert {path.name for path in tmp_path.iterdir()} == {"there.zip", "runs", "state", "nets.py", "own.toml"}
    assert (tmp_path / "there.zip").read_text() == "mine"


def test_a_folder_that_cannot_be_read_is_not_packed_as_an_empty_one(packed_run, tmp_path, without_privileges):
    (packed_run.checkpoints / "best").chmod(0)
    with pytest.raises(RunError, match=r"own/checkpoints/best cannot be read \(Permission denied\)"):
        pack(packed_run, tmp_path / "own.zip")
    (packed_run.checkpoints / "best").chmod(0o755)
    assert not (tmp_path / "own.zip").exists()


def test_folders_that_are_very_deep_in_each_other_are_refused(packed_run, tmp_path, nest):
    nest(packed_run.ranks)
    with pytest.raises(RunError, match="own/ranks has folders more than 64 deep in each other: move it away"):
        pack(packed_run, tmp_path / "own.zip")


def test_what_a_killed_pack_left_is_removed_by_the_next_one_but_not_what_is_being_written(packed_run, tmp_path):
    folder = tmp_path / "backups"
    folder.mkdir()
    code = "import sys; from pathlib import Path; from rbp_engine.run.pack import packing\n"
    code += "from rbp_engine.run.files.layout import RunDirectory\n"
    code += "def stop(run, name, archive): archive.fp.write(b'half'); print(flush=True); sys.stdin.read()\n"
    code += "packing._add = stop; packing.pack(RunDirectory(Path(sys.argv[1])), Path(sys.argv[2]))\n"
    words = [sys.executable, "-c", code, str(packed_run.path), str(folder / "half.zip")]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as packing:
        assert packing.stdout.readline()
        unfinished = next(path for path in folder.iterdir() if path.is_dir())
        pack(packed_run, folder / "first.zip")
        assert unfinished.exists()
        packing.kill()
    pack(packed_run, folder / "second.zip")
    assert {path.name for path in folder.iterdir()} == {"first.zip", "second.zip"}


@pytest.mark.parametrize("change", [lambda text: text[:-1], lambda text: text + b"x"], ids=["shorter", "longer"])
def test_a_file_that_changes_meanwhile_fails_and_leaves_no_archive(packed_run, tmp_path, monkeypatch, change):
    def copy(source: BinaryIO, target: BinaryIO) -> None:
        packed_run.preset_toml.write_bytes(change(packed_run.preset_toml.read_bytes()))
        target.write(source.read())

    monkeypatch.setattr(packing.shutil, "copyfileobj", copy)
    with pytest.raises(RunError, match=r"preset\.toml is being changed"):
        pack(packed_run, tmp_path / "own.zip")
    assert not list(tmp_path.glob("*.zip")) and not list(tmp_path.glob(".new-*"))
