"""Files that claim to be a packed run: each is refused with one message, and nothing is written."""

import os
import pickle
import shutil
import tarfile
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.summary import load_summary
from rbp_engine.run.pack.manifest import name_problem
from rbp_engine.run.pack.packing import pack
from rbp_engine.run.pack.unpacking import unpack
from tests.packed_runs import Archive, make_run_to_pack, padding, torch_file, torch_file_of_entries

NAMELESS = "is a name that no run gives to a file"
ELSE = "it has something else than its manifest says"


class Explodes:
    """A pickle of this makes a file."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("/tmp/rbp-pickle-was-executed",)


def _sparse(archive: Archive) -> None:
    block = tarfile.TarInfo("own/preset.toml")
    block.type, block.size = tarfile.GNUTYPE_SPARSE, 512
    place = [file["name"] for file in archive.listed].index("preset.toml")
    archive.members[place] = (block.tobuf(tarfile.GNU_FORMAT), bytes(512))


def _same_file_twice(archive: Archive) -> None:
    archive.list("preset.toml")


def _lies_about_size(archive: Archive) -> None:
    archive.listed[0]["size"] += 512


def _lies_about_contents(archive: Archive) -> None:
    archive.listed[0]["sha256"] = "0" * 64


def _zeros(archive: Archive) -> None:
    """10 GB of zeros, of which the file holds none: it is a hole."""
    archive.list("zeros.bin")
    archive.listed[-1] |= {"size": 10 * 2**30, "sha256": "0" * 64}


def _extend(archive: Archive, records: bytes, times: int = 1, kind: bytes = tarfile.REGTYPE) -> None:
    """Put extended headers before the preset."""
    place = [file["name"] for file in archive.listed].index("preset.toml")
    text = archive.members[place][1]
    block, extended = tarfile.TarInfo("own/preset.toml"), tarfile.TarInfo("own/PaxHeaders/preset.toml")
    block.size, block.type, extended.size, extended.type = len(text), kind, len(records), tarfile.XHDTYPE
    before = (extended.tobuf(tarfile.USTAR_FORMAT) + records + padding(len(records))) * times
    archive.members[place] = (before + block.tobuf(tarfile.USTAR_FORMAT), text)


MISCHIEF: dict[str, tuple[Callable[[Archive], None], str]] = {
    "parent": (lambda a: a.list("../evil"), NAMELESS),
    "hidden": (lambda a: a.list(".bashrc"), NAMELESS),
    "backslash": (lambda a: a.list("..\\evil"), NAMELESS),
    "drive": (lambda a: a.list("C:evil"), NAMELESS),
    "trailing dot": (lambda a: a.list("code/nets.py."), NAMELESS),
    "new line": (lambda a: a.list("code/a\nb.py"), NAMELESS),
    "half a character": (lambda a: a.list("code/\udc80.py"), NAMELESS),
    "5 kB of name": (lambda a: a.list("n" * 5000), "longer than 200 bytes"),
    "deep": (lambda a: a.list("a/" * 20 + "b"), "more than 6 folders deep"),
    "twice": (_same_file_twice, "is listed twice"),
    "composed": (lambda a: (a.list("code/caf\u00e9.py"), a.list("code/cafe\u0301.py")), NAMELESS),
    "file and folder": (lambda a: a.list("run.json/evil"), "which no run makes"),
    "a request to stop": (lambda a: a.list("control/stop"), "a process that is no longer there"),
    "a second manifest": (lambda a: a.list("manifest.json"), "is the name of the manifest"),
    "symbolic link": (lambda a: a.member(tarfile.SYMTYPE, linkname="/etc/passwd"), ELSE),
    "hard link": (lambda a: a.member(tarfile.LNKTYPE, linkname="/etc/passwd"), ELSE),
    "folder": (lambda a: a.member(tarfile.DIRTYPE), ELSE),
    "sparse": (_sparse, ELSE),
    "pax header": (lambda a: a.member(tarfile.XHDTYPE, text=b"25 path=../../tmp/evil\n\n"), ELSE),
    "pax header of another name": (
        lambda a: a.member(tarfile.XHDTYPE, text=b"20 path=own/../evil\n"), ELSE
    ),
    "pax header of another size": (
        lambda a: _extend(a, b"19 size=9999999999\n"), ELSE
    ),
    "pax header that says more": (lambda a: _extend(a, b"22 linkpath=/etc/shadow\n"), ELSE),
    "pax header that says it twice": (lambda a: _extend(a, b"19 path=own/run.json\n" * 2), ELSE),
    "two pax headers": (lambda a: _extend(a, b"10 size=1\n", 2), ELSE),
    "pax header before a link": (
        lambda a: _extend(a, b"24 path=own/preset.toml\n", kind=tarfile.SYMTYPE), ELSE
    ),
    "huge pax header": (lambda a: a.member(tarfile.XGLTYPE, size=2**62), ELSE),
    "long name": (lambda a: a.member(tarfile.GNUTYPE_LONGNAME, text=b"../" * 99), ELSE),
    "negative size": (lambda a: a.member(tarfile.REGTYPE, size=-512), ELSE),
    "size": (_lies_about_size, ELSE),
    "contents": (_lies_about_contents, "has other contents than its manifest says"),
    "endless end": (lambda a: setattr(a, "end", bytes(2**20)), "more in it than its manifest says"),
    "no end": (lambda a: setattr(a, "end", b""), "it is truncated"),
    "10 GB of zeros": (_zeros, "something else than its manifest says|it needs 1"),
    "a petabyte": (lambda a: a.listed[0].update(size=2**50), "no run has more than"),
    "negative bytes": (lambda a: a.listed[0].update(size=-1), "no possible size or SHA-256"),
    "no hash": (lambda a: a.listed[0].update(sha256="x"), "no possible size or SHA-256"),
    "a million files": (lambda a: a.listed.extend([a.listed[0]] * 30_000), "no run has more than 20000"),
    "another schema": (lambda a: a.head.update(schema=2), "of schema 2, and this rbp reads 1"),
    "id": (lambda a: a.head.update(id="../own"), "cannot be the id of a run"),
    "another id": (lambda a: a.head.update(id="other"), ELSE),
    "no JSON": (lambda a: setattr(a, "manifest", b"["), "its manifest cannot be used"),
    "deep JSON": (lambda a: setattr(a, "manifest", b"[" * 10_000), "nested more than"),
    "a list": (lambda a: setattr(a, "manifest", b"[]"), "expected object"),
    "huge manifest": (lambda a: setattr(a, "manifest", bytes(9 * 2**20)), "at most 8388608 are read"),
    "no run": (lambda a: (a.listed.clear(), a.members.clear()), "it has no run.json"),
    "pickled weights": (
        lambda a: a.put("checkpoints/best/model.safetensors", pickle.dumps(Explodes())), "holds no weights"
    ),
    "pickle in torch's file": (
        lambda a: a.put("checkpoints/best/optimizer.pt", torch_file(pickle.dumps(Explodes(), 2))),
        "is a pickle that would execute something",
    ),
    "newer pickle": (
        lambda a: a.put("checkpoints/best/optimizer.pt", torch_file(pickle.dumps(Explodes()))),
        "is a pickle that would execute something",
    ),
    "bare pickle": (lambda a: a.put("checkpoints/best/optimizer.pt", pickle.dumps(Explodes())), "is damaged"),
    "bomb in torch's file": (
        lambda a: a.put("checkpoints/best/optimizer.pt", torch_file(bytes(10**6), zipfile.ZIP_DEFLATED)),
        "is compressed",
    ),
    "endless directory in torch's file": (
        lambda a: a.put("checkpoints/best/optimizer.pt", torch_file_of_entries(200_000)),
        "its directory or its pickle has more than 8388608 bytes",
    ),
    "program in a checkpoint": (lambda a: a.list("checkpoints/best/evil.py"), "is no file of a checkpoint"),
    "run.json": (lambda a: a.put("run.json", b"{}"), "run.json is damaged"),
}  # fmt: skip


@pytest.fixture(scope="module")
def packed_run(tmp_path_factory):
    """The run of which the archives are; no test changes it."""
    folder = tmp_path_factory.mktemp("packed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder / "state"))
        return make_run_to_pack(folder)


@pytest.mark.parametrize("mischief", MISCHIEF)
def test_a_malicious_archive_is_refused_with_one_message_and_nothing_is_written(packed_run, tmp_path, mischief):
    change, message = MISCHIEF[mischief]
    archive = Archive(packed_run)
    change(archive)
    there = tmp_path / "there"
    there.mkdir()
    file = archive.write(tmp_path / "evil.tar")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=message) as refused:
        unpack(file, there)
    assert str(refused.value).startswith(f"cannot unpack {file}: ")
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 500
    assert sorted(tmp_path.rglob("*")) == before
    assert not Path("/tmp/rbp-pickle-was-executed").exists()


def test_the_archive_that_the_mischief_is_done_to_is_a_good_one(packed_run, tmp_path):
    there, _ = unpack(Archive(packed_run).write(tmp_path / "good.tar"), tmp_path / "there")
    assert load_summary(there).id == "own"


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"", "no tar archive"), (b"\x1f\x8b" + bytes(600), "use gunzip first"), (bytes(10240), "no tar archive"),
     (b"x" * 10240, "no tar archive"), (b"PK\x03\x04" + bytes(600), "use unzip first")],
)  # fmt: skip
def test_what_is_no_tar_archive_is_refused(tmp_path, content, message):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(RunError, match=message):
        unpack(tmp_path / "file", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_truncated_archive_is_refused_wherever_it_ends(packed_run, tmp_path):
    whole = Archive(packed_run).write(tmp_path / "whole.tar").read_bytes()
    for end in range(0, len(whole), 3 * 512):
        (tmp_path / "cut.tar").write_bytes(whole[: end + 100])
        with pytest.raises(RunError, match="truncated"):
            unpack(tmp_path / "cut.tar", tmp_path / "there")
    assert not (tmp_path / "there").exists()


def test_a_pipe_a_folder_and_a_missing_file_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", ".", "missing"):
        with pytest.raises(RunError, match="cannot unpack"):
            unpack(tmp_path / name, tmp_path / "there")


def test_without_room_on_the_disk_it_is_refused(packed_run, tmp_path, monkeypatch):
    pack(packed_run, tmp_path / "own.tar")
    full = shutil.disk_usage(tmp_path)._replace(free=20 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: full)
    with pytest.raises(RunError, match=r"it needs 6[45] MiB, 64 of them to spare, and .* has 20 MiB free"):
        unpack(tmp_path / "own.tar", tmp_path / "there")
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
    pack(packed_run, folder / "own.tar")
    return folder, (folder / "own.tar").read_bytes()


@settings(max_examples=50)
@given(st.binary(max_size=3000), st.integers(0, 6000))
def test_whatever_a_file_holds_it_is_refused_or_the_run_that_was_packed(packed_once, content, at):
    folder, whole = packed_once
    (folder / "file.tar").write_bytes(whole[:at] + content + whole[at + len(content) :])
    try:
        run, _ = unpack(folder / "file.tar", folder / "there")
    except RunError as error:
        assert "cannot unpack" in str(error)
    else:
        assert run.id == "own"
        shutil.rmtree(run.path)
    assert not (folder / "there").exists() or not list((folder / "there").iterdir())
