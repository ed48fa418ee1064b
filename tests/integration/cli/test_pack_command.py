"""`rbp runs pack` and `rbp runs unpack` on a run that was trained."""

import pytest

from rbp_engine.run.files.summary import write_status
from rbp_engine.run.pack.packing import pack
from tests.run_files import create_own


@pytest.fixture
def there(finished, rbp_here):
    """`rbp` in the folder of a finished run."""
    return type(rbp_here)(finished[0].folder)


def test_a_trained_run_passes_all_checks_of_an_archive_of_anybodys(there, rbp_here, tmp_path):
    done = there("runs", "pack", "mine", "-o", str(tmp_path / "mine.zip"))
    assert f"files, 2 MiB: {tmp_path}/mine.zip" in " ".join(done.stderr.split())
    said = rbp_here("runs", "unpack", "mine.zip", "--as", "theirs").stderr
    assert "unpacked theirs: " in said and "--trust" not in said
    (listed,) = rbp_here.json("ls")
    assert (listed["id"], listed["last"]) == ("theirs", there.json("ls", "id=mine")[0]["last"])
    for name in ("model.safetensors", "optimizer.pt", "rng-rank0.pt", "manifest.json"):
        packed, unpacked = (run / "checkpoints/best" / name for run in (there.runs / "mine", rbp_here.runs / "theirs"))
        assert packed.read_bytes() == unpacked.read_bytes()


def test_several_runs_go_into_a_folder_and_one_that_is_there_is_not_replaced(there, tmp_path):
    folder = tmp_path / "new" / "backup"
    (found,) = there.json("runs", "pack", "mine", "-o", str(folder), "--weights", "none")
    assert (found["id"], found["weights"], found["file"]) == ("mine", "none", str(folder / "mine.zip"))
    assert found["size"] == (folder / "mine.zip").stat().st_size
    assert "is there already" in there("runs", "pack", "mine", "-o", str(folder), code=2).stderr
    refused = there("runs", "unpack", str(folder / "mine.zip"), code=2).stderr
    assert "a run mine exists already" in refused and "--as" in refused


def test_with_trust_the_code_of_an_unpacked_run_is_not_asked_for_again(rbp_here, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "their-state"))
    run = create_own(tmp_path, tmp_path / "theirs")
    write_status(run, "completed")
    pack(run, tmp_path / "own.zip")
    refused = "would execute code/nets.py, which you have not launched here"
    assert refused in rbp_here("runs", "unpack", "own.zip").stderr
    assert refused in rbp_here("resume", "own", "epochs=20", code=2).stderr
    assert refused not in rbp_here("runs", "unpack", "own.zip", "--as", "trusted", "--trust").stderr
    assert "has no checkpoint to go on from" in rbp_here("resume", "trusted", "epochs=50", code=2).stderr
