"""Downloads without a network: a stand-in for torchvision's, and the real one, which fails."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from torchvision import datasets

from rbp_engine.data import fetch as module
from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.fetch import FetchError, fetch, main

DOWNLOADS = [name for name, one in CATALOG.items() if one.download]


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException | None = None) -> list[bool]:
    """A stand-in for torchvision's class: writes the files, fails on request, and records that it was called."""
    calls: list[bool] = []
    data_set = CATALOG[name]

    class Download:
        def __init__(self, root: str, download: bool) -> None:
            calls.append(download)
            folder = Path(root) / data_set.folder
            folder.mkdir(parents=True)
            (Path(root) / "archive.tar.gz").write_text("packed")
            if failure is not None:
                raise failure
            for file, _ in data_set.files:
                (folder / file).write_text("whole")

    monkeypatch.setattr(datasets, data_set.download, Download)
    return calls


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_data_set_appears_complete_in_the_root_without_its_archive(tmp_path, monkeypatch, name):
    calls = stand_in(monkeypatch, name)
    root = tmp_path / "new" / "data"
    for _ in range(2):
        assert main(name, str(root)) == 0
    assert calls == [True], "the second time nothing is downloaded"
    assert [path.name for path in root.iterdir()] == [Path(CATALOG[name].folder).parts[0]]
    assert CATALOG[name].find([root]).found


@pytest.mark.parametrize(
    "failure", [URLError("no route to host"), RuntimeError("File not found or corrupted."), OSError(28, "disk full")]
)
def test_a_failed_download_gives_one_message_and_leaves_nothing(tmp_path, monkeypatch, capsys, failure):
    stand_in(monkeypatch, "cifar10", failure)
    assert main("cifar10", str(tmp_path)) == 1
    [message] = capsys.readouterr().err.splitlines()
    assert message.startswith("'cifar10' could not be downloaded")
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_leaves_nothing(tmp_path, monkeypatch):
    stand_in(monkeypatch, "mnist", SystemExit(143))
    with pytest.raises(SystemExit):
        fetch("mnist", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_incomplete_folder_is_left_to_the_user(tmp_path, monkeypatch):
    stand_in(monkeypatch, "cifar10")
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    with pytest.raises(FetchError, match="exists and is incomplete: remove it"):
        fetch("cifar10", tmp_path)
    assert folder.is_dir()


def test_the_real_process_without_a_network_says_so_and_leaves_nothing(tmp_path):
    refused: dict[str, Any] = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    command, environment = [sys.executable, "-m", module.__name__], os.environ | refused | {"no_proxy": ""}
    done = subprocess.run(
        [*command, "cifar10", str(tmp_path)], env=environment, capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().splitlines()[-1].startswith("'cifar10' could not be downloaded")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
