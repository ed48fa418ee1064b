"""The files of own code: what an import statement names in the folder of the file, and nothing else."""

import os
import sys
import time
from pathlib import Path

import pytest

from rbp_engine import user_code
from rbp_engine.preset.own_code import OwnCode, read_own_code
from rbp_engine.preset.own_imports import MOST_FILES

CHECKOUT = Path(__file__).parents[3]
NET = "class Net: pass\n"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """The folder of the file that is named; another one is the working directory."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    (tmp_path / "mine").mkdir()
    return tmp_path / "mine"


def write(folder: Path, **files: str) -> None:
    """Files by path, with `__` for a slash, without the `.py`, and `init` for `__init__`."""
    for name, source in files.items():
        path = folder / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)


def read(folder: Path, name: str = "nets.py:Net") -> OwnCode:
    own = read_own_code(name, folder)
    copies = folder.parent / "copies"
    for file, source in own.files.items():
        (copies / file).parent.mkdir(parents=True, exist_ok=True)
        (copies / file).write_bytes(source)
    assert read_own_code(name, copies, copied=True).digest == own.digest
    return own


def check_refused(folder: Path, source: str, message: str) -> None:
    (folder / "nets.py").write_text(source)
    with pytest.raises((OSError, ValueError), match=message):
        read_own_code("nets.py:Net", folder)


@pytest.mark.parametrize(
    ("line", "files"),
    [
        ("import layers", {"layers.py"}),
        ("from layers import Block", {"layers.py"}),
        ("from .layers import Block", {"layers.py"}),
        ("from . import layers, norms", {"layers.py", "norms.py"}),
        ("from .norms import *", {"norms.py"}),
        ("import blocks", {"blocks/__init__.py", "blocks/conv.py", "norms.py"}),
        ("import blocks.lazy as lazy", {"blocks/__init__.py", "blocks/conv.py", "norms.py", "blocks/lazy.py"}),
        ("from blocks import lazy", {"blocks/__init__.py", "blocks/conv.py", "norms.py", "blocks/lazy.py"}),
        ("from loose import one", {"loose/one.py"}),
        ("def f():\n    try:\n        import layers\n    except ImportError: ...", {"layers.py"}),
        ("import torch, rbp_engine.spiking, no_such_module, wandb, collections.abc", set()),
        ("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import layers", set()),
        ("if __name__ == '__main__':\n    import layers\nelse:\n    import norms", {"norms.py"}),
        ("import random, rbp_engine", {"random.py"}),
    ],
)  # fmt: skip
def test_what_an_import_names_in_the_folder_belongs_to_the_code(folder, line, files):
    (folder / "wandb" / "run-1").mkdir(parents=True)
    write(
        folder,
        layers="class Block: ...\n", norms="", random="raise SystemExit\n", rbp_engine__init="raise SystemExit\n",
        blocks__init="from .conv import Conv\n", blocks__conv="from .. import norms\nclass Conv: ...\n",
        blocks__lazy="", loose__one="", nets=f"{line}\n{NET}",
    )  # fmt: skip
    assert set(read(folder).files) == {"nets.py", *files}


def test_files_that_import_each_other_are_found_once(folder):
    write(folder, nets=f"import layers\n{NET}", layers="from nets import Net\nimport layers\n")
    assert list(read(folder).files) == ["nets.py", "layers.py"]


def test_a_package_is_named_by_its_init(folder):
    (folder / "__init__.py").write_text("from .net import Net\n")
    write(folder, net="from .parts import part\nclass Net: ...\n", parts="part = 1\n")
    assert set(read(folder, "__init__.py:Net").files) == {"__init__.py", "net.py", "parts.py"}
    assert set(read(folder, "net.py:Net").files) == {"__init__.py", "net.py", "parts.py"}


def test_what_is_outside_of_the_folder_and_not_installed_is_named(folder, tmp_path, monkeypatch):
    (tmp_path / "shared").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "shared")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "shared"))
    for place in (tmp_path / "shared" / "common.py", tmp_path / "above.py", Path("here.py")):
        place.write_text("")
    write(folder, parts="import common\n")
    for source, message in {
        "import common": rf"nets\.py line 1 imports common \({tmp_path}/shared/common\.py\), .* neither in {folder} ",
        "import here": rf"line 1 imports here \({tmp_path}/work/here\.py\), which is neither",
        "\nimport above": rf"line 2 imports above \({tmp_path}/above\.py\), which is neither",
        "import mine.parts": rf"line 1 imports mine\.parts \({folder}\), .*import it with a dot if it is in",
        "import parts": r"parts\.py line 1 imports common ",
        "from ..above import x": r"line 1 imports \.\.above, which is outside of the folder",
        "import rbp_tui.text": rf"imports rbp_tui\.text \({CHECKOUT}/rbp_tui\)",
    }.items():
        check_refused(folder, f"{source}\n{NET}", message)


@pytest.mark.parametrize("make", [os.mkfifo, Path.mkdir, lambda path: path.write_text("def (:\n")])
def test_a_neighbour_that_cannot_be_read_is_refused(folder, make):
    make(folder / "layers.py")
    check_refused(folder, f"import layers\n{NET}", r"layers\.py (cannot be read: |line 1 is not Python)")


def test_a_neighbour_that_is_a_link_out_of_the_folder_is_read(folder, tmp_path):
    """It is the user's own, and a run has a copy of what it leads to."""
    (tmp_path / "elsewhere.py").write_text("x = 1\n")
    (folder / "layers.py").symlink_to(tmp_path / "elsewhere.py")
    write(folder, nets=f"import layers\n{NET}")
    assert read(folder).files["layers.py"] == b"x = 1\n"


def test_the_number_the_size_and_the_depth_of_the_files_are_bounded(folder):
    names = [f"part{number}" for number in range(MOST_FILES)]
    write(folder, **dict.fromkeys(names, ""))
    check_refused(folder, f"import {', '.join(names)}\n{NET}", f"more than {MOST_FILES} files")
    for name in names[:5]:
        (folder / f"{name}.py").write_text("#" * 2**20)
    check_refused(folder, f"import {', '.join(names[:5])}\n{NET}", "more than 4 MiB")
    (folder / "a/b/c/d/e").mkdir(parents=True)
    (folder / "a/b/c/d/e/deep.py").touch()
    check_refused(folder, f"import a.b.c.d.e.deep\n{NET}", r"a/b/c/d/e/deep\.py is too deep")


def test_files_that_take_long_are_looked_at_in_bounded_time(folder):
    imports = "".join(f"import name{number}\n" for number in range(80_000))
    (folder / "elif.py").write_text("if x: ...\n" + "elif x: ...\n" * 1000 + NET)
    started = time.process_time()
    check_refused(folder, NET + imports[: 2**20 - 100], "more than 5000 imports")
    read_own_code("elif.py:Net", folder)
    for slow, why in ((f"import {'a.' * 2**18}a\n", "a name of more than 100 parts"),
                      (f"x = f'{'{a}' * 2**18}'\n", "more than 10000 braces")):  # fmt: skip
        (folder / "long.py").write_text(NET + slow)
        with pytest.raises(ValueError, match=rf"long\.py is not usable: {why}"):
            read_own_code("long.py:Net", folder)
    assert time.process_time() - started < 20.0


def test_a_module_of_an_installed_package_is_told_from_one_that_happens_to_be_found(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "common.py").touch()
    found = {name: user_code.place_of_module(name) for name in ("torch", "json", "common", "no_such_module")}
    assert found["torch"] and user_code.is_installed(found["torch"])
    assert found["json"] and user_code.is_installed(found["json"])
    assert found["common"] == tmp_path / "common.py" and not user_code.is_installed(found["common"])
    assert found["no_such_module"] is None
    assert sys.modules.get("common") is None  # nothing was executed
