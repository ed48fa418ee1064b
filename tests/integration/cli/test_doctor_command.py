"""`rbp doctor` as a user runs it, and its single checks for machines unlike this one."""

import json
import os
from functools import partial

import pytest

from rbp_engine.health import devices, judge_torch, kills_at_logout, runs_folder, shared_memory
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.queue.entries import new_entry, write_entry
from rbp_engine.train import device

NAMES = [
    "python", "packages", "torch", "nvidia driver", "machine.toml", "runs", "devices", "logout", "shared memory",
    "compile cache", "terminal",
]  # fmt: skip


@pytest.fixture
def rbp(rbp, tmp_path):
    rbp.environment |= {
        "RBP_CONFIG": str(tmp_path / "config"), "RBP_RUNS": str(tmp_path / "runs"), "RBP_DATA": str(tmp_path / "sets"),
        "COLUMNS": "80", "PYTHONIOENCODING": "ascii",
    }  # fmt: skip
    return partial(rbp, "doctor", code=None)


def by_name(done):
    return {finding["name"]: finding for finding in json.loads(done.stdout)}


def test_a_machine_that_trains_gives_exit_code_0_and_a_line_for_each_check(rbp, tmp_path):
    """Even at a terminal that has not all of the signs."""
    done = rbp()
    assert done.returncode == 0, done.stdout
    lines = done.stdout.splitlines()
    assert [line[2:15].strip() for line in lines if line[0] != " "] == NAMES
    assert max(map(len, lines)) <= 80 and "its encoding is ascii" in done.stdout
    assert not (tmp_path / "runs").exists()
    assert not (tmp_path / "config").exists()


def test_notes_do_not_fail_and_doctor_itself_loads_no_torch(rbp_here, tmp_path):
    code = (
        "import sys; from rbp_tui.cli import app; app(['doctor', '--json'], standalone_mode=False)\n"
        'sys.stderr.write(f\'loaded {sorted({"torch", "numpy"} & set(sys.modules))}\')'
    )
    rbp_here.environment |= {"PYTHONIOENCODING": "ascii"}
    done = rbp_here.python("-c", code)
    findings = by_name(done)
    assert done.returncode == 0 and done.stderr.endswith("loaded []")
    assert list(findings) == NAMES
    assert {name for name in NAMES if findings[name]["status"] == "note"} >= {"terminal"}
    assert findings["runs"]["text"].startswith(f"{tmp_path / 'runs'} (made by the first run), ")


def test_problems_that_prevent_training_give_exit_code_1(rbp, tmp_path):
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text("run = '/r'\n")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "torch.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')\n")
    (tmp_path / "file").write_text("")
    rbp.func.environment["PYTHONPATH"] += f":{tmp_path / 'broken'}"
    done = rbp("--json", "--runs-dir", "file/runs")
    findings = by_name(done)
    assert done.returncode == 1
    assert {name for name in NAMES if findings[name]["status"] == "problem"} == {"torch", "machine.toml", "runs"}
    assert "libcudart.so.13" in findings["torch"]["text"]
    assert "Did you mean 'runs'?" in findings["machine.toml"]["text"]
    assert f"{tmp_path / 'file'} is not a folder" in findings["runs"]["text"]
    assert "torch, machine.toml, runs" in done.stderr


def test_the_device_report_is_one_line_of_json(capsys):
    device.main()
    (line,) = capsys.readouterr().out.splitlines()
    assert json.loads(line).keys() == REPORT.keys()


REPORT = {
    "torch": "2.9.0", "cuda": "12.6", "threads": 8, "has_card": True, "devices": [], "why_not": "", "networks": "",
}  # fmt: skip


def card(index, error=""):
    return {"index": index, "name": "NVIDIA A100", "memory": 80 * 2**30, "error": error}


@pytest.mark.parametrize(
    ("found", "status", "text", "remedy"),
    [
        ({"cuda": "", "has_card": False, "threads": 1}, "ok", "trains on 1 CPU thread", ""),
        ({"cuda": "", "has_card": False}, "ok", "trains on 8 CPU threads", ""),
        ({"devices": [card(0), card(1)]}, "ok", "CUDA 12.6: NVIDIA A100 (80 GiB); NVIDIA A100 (80 GiB)", ""),
        ({"devices": [card(0, "no kernel")]}, "problem", "cannot compute: no kernel", "run.device=cpu"),
        ({"devices": [card(0, "out of memory"), card(1)]}, "problem", "cannot compute: out of", "run.device=cuda:1"),
        ({"devices": [card(0), card(1, "busy")]}, "note", "cannot compute: busy", "run.device=cuda:0"),
        ({"why_not": "this torch is a CPU build", "cuda": None}, "problem", "this torch is a CPU build", None),
        ({"networks": "RuntimeError: operator torchvision::nms"}, "problem", "torchvision::nms", None),
    ],
)
def test_a_card_or_a_torch_that_cannot_compute_is_a_problem_if_auto_would_choose_it(found, status, text, remedy):
    finding = judge_torch(REPORT | found)
    assert finding.status == status and text in finding.text
    assert remedy is None or finding.remedy == remedy


def test_a_card_that_the_environment_hides_is_named(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    hidden = REPORT | {"why_not": "this torch is a CPU build"}
    assert "CUDA_VISIBLE_DEVICES='' hides the card" in judge_torch(hidden).text


@pytest.mark.parametrize(
    ("texts", "kills"),
    [
        ([], False),
        (["[Login]\n#KillUserProcesses=yes\n"], False),
        (["[Login]\nKillUserProcesses=no\nKillUserProcesses = yes\n"], True),
        (["[Login]\nKillUserProcesses=yes\n", "[Login]\nKillUserProcesses=no\n"], False),
        (["[Login]\n", "[Login]\n  KillUserProcesses=1\n", "[Login]\nIdleAction=ignore\n"], True),
    ],
)
def test_the_last_setting_of_systemd_counts(tmp_path, texts, kills):
    files = [tmp_path / f"{index}.conf" for index in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    assert kills_at_logout([tmp_path / "absent.conf", *files]) is kills


def test_missing_shared_memory_is_no_problem(tmp_path):
    assert shared_memory(tmp_path / "absent").status == "ok"
    assert "GiB" in shared_memory(tmp_path).text


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_runs_directory_that_cannot_be_written_is_a_problem(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    finding = runs_folder(tmp_path / "locked" / "runs")
    assert finding.status == "problem"
    assert "cannot be written" in finding.text


def test_entries_that_wait_in_vain_are_noted_with_a_remedy(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "machine.toml").write_text("cpu_slots = 2\n")
    found = devices()
    assert found.status == "ok" and "cpu 0, cpu 1" in found.text
    assert not (tmp_path / "state").exists()

    run = RunDirectory(tmp_path / "runs" / "gone")
    write_entry(new_entry(run, Asked()))
    found = devices()
    assert (found.status, found.remedy) == ("note", "rbp queue")
    assert "1 run without a dispatcher" in found.text
