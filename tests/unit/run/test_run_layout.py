import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import (
    check_run_id,
    is_called,
    new_run_id,
    read_json,
    short_id,
    write_atomic,
    write_json,
)


@pytest.mark.parametrize(
    "run_id",
    ["", ".", "..", "../x", "a/../b", "/etc", "a/b", "a\\b", ".hidden", "-option", "_x", "a b", "a\n", "a\0", "é",
     "x" * 121],
)  # fmt: skip
def test_an_id_that_is_not_a_plain_folder_name_is_refused(run_id):
    with pytest.raises(RunError, match="cannot be the id of a run"):
        check_run_id(run_id)


@given(st.text(max_size=200), st.sampled_from(["bptt", "rate_m"]))
def test_the_id_made_for_a_preset_of_any_name_is_accepted(preset, method):
    check_run_id(new_run_id(preset, method))


@pytest.mark.parametrize(
    ("run_id", "shown"),
    [
        ("20261124-140501-digits-rate_m-3f2a", "3f2a"),
        ("20261124-140501-digits-rate_m-3f2a-1000", "3f2a-1000"),
        ("20261124-140501-own-tracked-3f2a", "3f2a"),
        ("digits-rate_m-0a1b2c3d-4e5f", "4e5f"),
        ("digits-bptt-2-0a1b2c3d-4e5f-1000", "4e5f-1000"),
        ("tune-007-3f2a", "3f2a"),
        ("imported-0a1b2c3d-4e5f", "4e5f"),
        *(
            (chosen, chosen)
            for chosen in ("vgg-rate", "resnet-rate", "run-2024", "net-cafe-30", "own-30", "run-20261124-1405")
        ),
    ],
)
def test_an_id_that_rbp_has_made_is_shown_by_its_end_and_a_chosen_one_whole(run_id, shown):
    assert short_id(run_id) == shown and is_called(run_id, shown)


def test_generated_ids_sort_by_time_and_name_preset_and_method():
    now = time.time()
    first, second = (new_run_id("digits", "rate_m", moment) for moment in (now, now + 1))
    assert first < second
    assert first.startswith(time.strftime("%Y%m%d-%H%M%S-digits-rate_m-", time.localtime(now)))


def test_a_failed_write_atomic_leaves_the_old_file_and_no_other_file(tmp_path):
    write_atomic(tmp_path / "file", "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomic(tmp_path / "file", "new \ud800")
    (tmp_path / "folder" / "inside").mkdir(parents=True)
    with pytest.raises(OSError):
        write_atomic(tmp_path / "folder", "a folder that is not empty stands in the way")
    assert (tmp_path / "file").read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_reader_of_a_json_file_sees_the_old_or_the_new_version(tmp_path):
    path = tmp_path / "summary.json"
    write_json(path, {"words": ["0"] * 2000})
    ended = threading.Event()

    def rewrite() -> None:
        for number in range(200):
            write_json(path, {"words": [str(number)] * 2000})
        ended.set()

    writer = threading.Thread(target=rewrite)
    writer.start()
    looks = 0
    while not ended.is_set() or looks == 0:
        words = read_json(path)["words"]
        assert len(words) == 2000 and len(set(words)) == 1
        looks += 1
    writer.join()


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"null", b"\xff\xfe", b'{"a": 1', b'{"a":' * 100_000])
def test_a_damaged_json_file_reads_as_empty(tmp_path, content):
    (tmp_path / "file").write_bytes(content)
    assert read_json(tmp_path / "file") == {}
    assert read_json(tmp_path / "missing") == {}
