"""How a run that is followed ends when its folder does."""

import shutil
import threading
import time
from pathlib import Path

import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.train import following
from rbp_tui.cli.train.views import Silence


def test_a_folder_whose_files_go_before_it_does_is_told_of_as_gone(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    run.path.mkdir()  # its summary is removed already

    def remove() -> None:
        time.sleep(0.3)
        shutil.rmtree(run.path)

    thread = threading.Thread(target=remove)
    thread.start()
    (verdict,) = following.follow([run], Silence())
    thread.join()
    assert (verdict.status, verdict.reason) == ("lost", f"its folder {run.path} is gone")


def test_a_run_without_its_summary_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "REMOVAL_S", 0.1)
    (verdict,) = following.follow([RunDirectory(tmp_path)], Silence())
    assert (verdict.status, verdict.reason) == ("lost", "summary.json is missing or damaged")
