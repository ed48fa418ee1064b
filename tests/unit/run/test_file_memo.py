"""Files of runs are read again only when they have changed."""

import os

import pytest

from rbp_engine.run.files.file_memo import FileMemo
from rbp_engine.run.files.layout import write_atomic


def test_a_file_is_read_again_once_it_has_changed_or_this_process_has_just_written_it(tmp_path):
    read: list[bytes] = []

    def parse(content: bytes) -> bytes:
        read.append(content)
        return read[-1]

    memo, path = FileMemo(parse), tmp_path / "run.json"
    with pytest.raises(FileNotFoundError):
        memo.read(path)
    write_atomic(path, "one")
    assert [memo.read(path) for _ in range(3)] == [b"one"] * 3 and len(read) == 1
    write_atomic(path, "another")
    assert memo.read(path) == b"another" and len(read) == 2
    path.unlink()
    with pytest.raises(FileNotFoundError):
        memo.read(path)
    write_atomic(path, "old")
    assert memo.read(path) == b"old"
    before = path.stat()
    path.write_text("new")  # in place, of the same size; its time is set back as if no tick had passed

    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    memo.forget(path)
    assert memo.read(path) == b"new"
