"""Files that claim to be a packed run: each is refused with one message, and nothing is written."""

import os
import pickle
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.pack.archive import NEEDED, name_problem
from rbp_engine.run.pack.packing import pack, unpack
from tests.bomb import Bomb
from tests.packed_runs import (
    FLAGS,
    METHOD,
    PACKED,
    PLACE,
    SIZE,
    TENSORS,
    Archive,
    make_run_to_pack,
    torch_file,
    torch_file_of_entries,
)

BOMB = Bomb(Path("/tmp/rbp-pickle-was-executed"))
NAMELESS = "is a name that no run gives to a file"
EXECUTES = "is a pickle that would execute something"
MOMENTA = "checkpoints/best/optimizer.pt"


def _resized(archive: Archive, size: int) -> None:
    """A size that is not that of the contents, in both places."""
    for place in (PACKED, SIZE):
        archive.say("preset.toml", place, size.to_bytes(4, "little"))


def _terabytes(archive: Archive) -> None:
    for number in range(300):
        archive.list(f"code/{number}.py")
        for place in (PACKED, SIZE):
            archive.say(f"code/{number}.py", place, b"\xfe\xff\xff\xff")


def _many(archive: Archive, count: int, digits: int = 1) -> None:
    archive.entries += [(f"own/{number:0{digits}}", b"") for number in range(count)]


MISCHIEF: dict[str, tuple[Callable[[Archive], None], str]] = {
    "parent": (lambda a: a.list("../evil"), NAMELESS),
    "hidden": (lambda a: a.list(".bashrc"), NAMELESS),
    "backslash": (lambda a: a.list("..\\evil"), NAMELESS),
    "drive": (lambda a: a.list("C:evil"), NAMELESS),
    "trailing dot": (lambda a: a.list("code/nets.py."), NAMELESS),
    "new line": (lambda a: a.list("code/a\nb.py"), NAMELESS),
    "no UTF-8": (lambda a: (a.list("code/caf\u00e9.py"), a.say("code/caf\u00e9.py", 58, b"\xff")), "damaged: "),
    "a folder": (lambda a: a.list("code/more/", b""), NAMELESS),
    "5 kB of name": (lambda a: a.list("n" * 5000), "longer than 200 bytes"),
    "deep": (lambda a: a.list("a/" * 20 + "b"), "more than 6 folders deep"),
    "twice": (lambda a: a.list("preset.toml"), "is listed twice"),
    "composed": (lambda a: (a.list("code/caf\u00e9.py"), a.list("code/cafe\u0301.py")), NAMELESS),
    "file and folder": (lambda a: a.list("run.json/evil"), "'run.json' is a file and a folder"),
    "compiled": (lambda a: a.list("code/__pycache__/nets.cpython-311.pyc"), NAMELESS),
    "much code": (lambda a: [a.list(f"code/{number}.py") for number in range(101)], "own: .* 100 files in code, and"),
    "an endless file of code": (lambda a: a.list("code/more.py", bytes(2**20 + 1)), "own: code/more.py is larger than"),
    "20,000 attempts": (lambda a: a.list("attempts/19999.json"), "no run has more than 2000"),
    "a request to stop": (lambda a: a.list("control/stop"), "a process that is no longer there"),
    "another run": (lambda a: a.entries.append(("other/run.json", b"{}")), "its files are not in one folder"),
    "absolute": (lambda a: a.entries.append(("/etc/passwd", b"x")), "its files are not in one folder"),
    "id": (lambda a: a.entries.__setitem__(slice(None), [("../run.json", b"{}")]), "cannot be the id of a run"),
    "no run": (lambda a: a.entries.__setitem__(slice(None), [("own/notes", b"x")]), "it has no run.json"),
    "compressed": (lambda a: setattr(a, "compression", zipfile.ZIP_DEFLATED), "is compressed, as rbp packs nothing"),
    "encrypted": (lambda a: a.say("preset.toml", FLAGS, b"\x01"), "is encrypted"),
    "another method": (lambda a: a.say("preset.toml", METHOD, b"\x09"), "is compressed, as rbp packs nothing"),
    "one size": (lambda a: a.say("preset.toml", SIZE, b"\xff\xff\xff\x00"), "is compressed, as rbp packs nothing"),
    "too large": (lambda a: _resized(a, 2**20), "Bad CRC-32|damaged"),
    "too small": (lambda a: _resized(a, 3), "Bad CRC-32"),
    "beyond the end": (lambda a: a.say("preset.toml", PLACE, b"\xff\xff\xff\x7f"), "Truncated file header"),
    "contents of another": (lambda a: [a.say(name, PLACE, bytes(4)) for name in NEEDED], "and header .* differ"),
    "a terabyte": (_terabytes, "no run has more than 1099511627776"),
    "a million files": (lambda a: _many(a, 30_000), "no run has more than 20000"),
    "endless directory": (lambda a: _many(a, 36_000, digits=200), "more than 8388608"),
    "pickled weights": (
        lambda a: a.put("checkpoints/best/model.safetensors", pickle.dumps(BOMB)), "holds no weights"
    ),
    "pickle in torch's file": (lambda a: a.put(MOMENTA, torch_file(pickle.dumps(BOMB, 2))), EXECUTES),
    "newer pickle": (lambda a: a.put(MOMENTA, torch_file(pickle.dumps(BOMB))), EXECUTES),
    "bare pickle": (lambda a: a.put(MOMENTA, pickle.dumps(BOMB)), "is damaged"),
    "bomb in torch's file": (
        lambda a: a.put(MOMENTA, torch_file(bytes(10**6), zipfile.ZIP_DEFLATED)), "is compressed"
    ),
    "endless directory in torch's file": (
        lambda a: a.put(MOMENTA, torch_file_of_entries(200_000)), "its directory or its pickle has more than 8388608 b"
    ),
    "program in a checkpoint": (lambda a: a.list("checkpoints/best/evil.py"), "is no file of a checkpoint"),
    "a pickle beside it that torch may take": (
        lambda a: a.put(MOMENTA, torch_file(TENSORS, beside="DATA.PKL")), "holds no tensors"
    ),
    "run.json": (lambda a: a.put("run.json", b"{}"), "zip: run.json is damaged"),
    "a newer run.json": (
        lambda a: a.put("run.json", a.contents["run.json"].replace(b'"format": 1', b'"format": 9')),
        "zip: run.json is damaged .it is of format 9",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def packed_run(tmp_path_factory):
    """The run of which the archives are; no test changes it."""
    folder = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        return make_run_to_pack(folder)


@pytest.mark.filterwarnings("ignore:Overlapped entries")  # Python says so, too
@pytest.mark.parametrize("mischief", MISCHIEF)
def test_a_malicious_archive_is_refused_with_one_message_and_nothing_is_written(packed_run, tmp_path, mischief):
    change, message = MISCHIEF[mischief]
    archive = Archive(packed_run)
    change(archive)
    there = tmp_path / "there"
    there.mkdir()
    file = archive.write(tmp_path / "evil.zip")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=message) as refused:
        unpack(file, there)
    assert str(refused.value).startswith(f"cannot unpack {file}: ")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500
    assert sorted(tmp_path.rglob("*")) == before
    assert not BOMB.path.exists()


@pytest.mark.parametrize("content", [b"", b"\x1f\x8b" + bytes(600), bytes(10240), b"PK\x03\x04" + bytes(600)])
def test_what_is_no_archive_is_refused(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RunError, match="it is no packed run, or damaged: File is not a zip file"):
        unpack(tmp_path / "file", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_link_becomes_a_file(packed_run, tmp_path):
    archive = Archive(packed_run)
    archive.list("code/link.py", b"/etc/passwd")
    archive.say("code/link.py", 38, (0o120777 << 16).to_bytes(4, "little"))
    there, _ = unpack(archive.write(tmp_path / "link.zip"), tmp_path / "there")
    assert load_summary(there).id == "own", "the archive that the mischief is done to is a good one"
    assert not (there.code / "link.py").is_symlink() and (there.code / "link.py").read_text() == "/etc/passwd"


def test_a_pipe_a_folder_and_a_missing_file_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        with pytest.raises(RunError, match="cannot unpack"):
            unpack(tmp_path / name, tmp_path / "there")


def test_without_room_on_the_disk_it_is_refused(packed_run, tmp_path, monkeypatch):
    pack(packed_run, tmp_path / "own.zip")
    full = shutil.disk_usage(tmp_path)._replace(free=20 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(RunError, match=r"it needs 6[45] MiB, 64 of them to spare, and .* has 20 MiB free"):
        unpack(tmp_path / "own.zip", tmp_path / "there")
    assert not (tmp_path / "there").exists()


NAMES = st.lists(
    st.one_of(
        st.sampled_from(["", ".", "..", "a", "A", "code", "control", "run.json", "é", "e\u0301", "~", "-rf", "nul "]),
        st.text(max_size=8),
    ),
    min_size=1, max_size=8,
).map("/".join)  # fmt: skip


@settings(max_examples=50)
@given(NAMES)
def test_a_name_that_is_allowed_stays_in_the_run_and_can_be_shown(name):
    if name_problem(name):
        return
    run = Path("/runs/run")
    assert Path(os.path.normpath(run / name)) == run / name
    assert (run / name).is_relative_to(run) and run / name != run
    assert name.isprintable() and name == unicodedata.normalize("NFC", name)
    assert not any(part.startswith((".", " ")) for part in name.split("/"))
    assert len(name.encode()) <= 200


@pytest.fixture(scope="module")
def packed_once(packed_run, tmp_path_factory):
    """A folder, and a packed run."""
    folder = tmp_path_factory.mktemp("random")
    pack(packed_run, folder / "own.zip")
    return folder, (folder / "own.zip").read_bytes()


@settings(max_examples=50)
@given(st.binary(max_size=3000), st.integers(0, 6000), st.booleans())
def test_whatever_a_file_holds_or_lacks_it_is_refused_or_the_run_that_was_packed(packed_once, content, at, cut):
    folder, whole = packed_once
    (folder / "file.zip").write_bytes(whole[:at] + (b"" if cut else content + whole[at + len(content) :]))
    try:
        run, _ = unpack(folder / "file.zip", folder / "there")
    except RunError as error:
        assert "cannot unpack" in str(error)
    else:
        assert run.id == "own"
        shutil.rmtree(run.path)
    assert not (folder / "there").exists() or not list((folder / "there").iterdir())
