"""The wheel is what users install: it contains the presets, and trains outside of the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import sklearn

CHECKOUT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("wheel")  # they share what is built


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(CHECKOUT)], check=True
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with the wheel, nothing from the checkout, and the dependencies of the running one."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    python = folder / "bin" / "python"
    (site_packages,) = folder.glob("lib/python*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (site_packages / "dependencies.pth").write_text("\n".join(here))
    pip = [sys.executable, "-m", "pip", "--python", str(python)]
    subprocess.run([*pip, "install", "--quiet", "--no-deps", "--no-index", str(wheel)], check=True)
    return folder / "bin" / "rbp"


def run(rbp, *words, cwd):
    environment = {"PATH": os.environ["PATH"], "HOME": str(cwd), "OMP_WAIT_POLICY": "PASSIVE"}
    return subprocess.run([str(rbp), *words], cwd=cwd, env=environment, capture_output=True, text=True, check=True)


def test_the_wheel_carries_every_preset_and_no_tests(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    presets = {Path(name).name for name in names if name.startswith("rbp_engine/preset/bundled/")}
    assert presets == {path.name for path in (CHECKOUT / "presets").glob("*.toml")}
    assert not [name for name in names if "test" in name]


def test_the_wheel_carries_the_digits_and_their_licence(wheel):
    with zipfile.ZipFile(wheel) as archive:
        shipped = {Path(name).name: archive.read(name) for name in archive.namelist()}
    assert shipped["digits.csv.gz"] == (Path(sklearn.__file__).parent / "datasets/data/digits.csv.gz").read_bytes()
    assert b"Creative Commons Attribution 4.0" in shipped["digits.LICENSE"]
    assert "License-Expression: MIT AND CC-BY-4.0" in shipped["METADATA"].decode().splitlines()


def test_the_installed_wheel_lists_the_bundled_presets(installed, tmp_path):
    listed = json.loads(run(installed, "presets", "list", "--json", cwd=tmp_path).stdout)
    assert {entry["name"] for entry in listed} == {path.stem for path in (CHECKOUT / "presets").glob("*.toml")}
    assert all("bundled" in entry["path"] and str(CHECKOUT) not in entry["path"] for entry in listed)


def test_the_installed_wheel_trains_an_epoch_of_digits(installed, tmp_path):
    run(installed, "train", "digits", "epochs=1", cwd=tmp_path)
    (summary,) = json.loads(run(installed, "ls", "--json", cwd=tmp_path).stdout)
    assert summary["status"] == "completed"
    assert summary["last"]["top1"] > 0.3
