"""`rbp runs show RUN --reproduce`: a script that is executed where there is nothing but `rbp`."""

import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rbp_engine.preset import load_preset
from rbp_engine.report.sameness import compare_results
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.launch import launch
from rbp_engine.run.reproduce import _file, reproduction

RBP = f'#!/bin/sh\nexec {sys.executable} -c "from rbp_tui.cli import main; main()" "$@"\n'
NETS = "from torch import nn\n\n\ndef net(**given):\n\treturn nn.Identity()\n"


def test_the_script_trains_the_same_run_in_an_empty_folder(finished, rbp_here, tmp_path):
    there = finished[0]
    script = type(rbp_here)(there.folder)("runs", "show", "mine", "--reproduce").stdout
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rbp").write_text(RBP)
    (tmp_path / "bin" / "rbp").chmod(0o755)
    (tmp_path / "empty").mkdir()
    environment = {name: value for name, value in rbp_here.environment.items() if name != "OMP_NUM_THREADS"}
    done = subprocess.run(
        ["sh"], input=script, cwd=tmp_path / "empty", capture_output=True, text=True, timeout=180,
        env=environment | {"PATH": f"{tmp_path / 'bin'}:{environment['PATH']}", "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "digits is whole" in done.stdout + done.stderr
    (again,) = (tmp_path / "empty" / "runs").iterdir()
    found = compare_results(RunDirectory(there.runs / "mine"), RunDirectory(again))
    assert found.same, found
    experiments = {json.loads((run / "summary.json").read_text())["experiment"] for run in (again, there.runs / "mine")}
    assert len(experiments) == 1


@pytest.fixture
def hostile(tmp_path, monkeypatch):
    """A run whose every text tries to be a command of the script."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "nets.py").write_text(NETS)
    text = "x\nEND\ntouch evil\n$(touch evil) `touch evil` '; touch evil; '"
    (tmp_path / "own.toml").write_text(f'extends = "digits"\ntitle = {json.dumps(text)}\nmodel.name = "nets.py:net"\n')
    run = launch.create(load_preset(str(tmp_path / "own.toml")), tmp_path / "runs", run_id="own", command=[text])
    write_status(run, "completed")
    summary = json.loads(run.summary_json.read_text()) | {"preset": text, "label": text, "method": text}
    run.summary_json.write_text(json.dumps(summary))
    origin = json.loads(run.run_json.read_text())
    environment = {"OMP_NUM_THREADS": text, "LD_PRELOAD": "evil.so"}
    origin |= {"host": text, "python": text, "packages": {"torch": text}}
    origin |= {"git": {"commit": text, "branch": text, "diff": f"{text}\n+\t1\n"}}
    origin |= {"attempts": [{"attempt": 1, "environment": environment}]}
    run.run_json.write_text(json.dumps(origin))
    return run


def test_no_text_of_a_run_becomes_a_command(hostile, tmp_path):
    script = reproduction(hostile)
    (tmp_path / "empty").mkdir()
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "rbp").write_text('#!/bin/sh\necho "rbp $*"\n')
    (tmp_path / "bin" / "rbp").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", script], cwd=tmp_path / "empty", capture_output=True, text=True,
        env={"PATH": f"{tmp_path / 'bin'}:/usr/bin:/bin"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["rbp data check digits", "rbp train ./preset.toml", "rbp runs show last"]
    written = {path.name for path in (tmp_path / "empty").iterdir()}
    assert written == {"preset.toml", "nets.py", "requirements.txt", "uncommitted.diff"}
    assert (tmp_path / "empty" / "nets.py").read_text() == NETS
    assert "LD_PRELOAD" not in script
    again = load_preset(str(tmp_path / "empty" / "preset.toml"))
    assert again.experiment == json.loads(hostile.summary_json.read_text())["experiment"]


def test_code_of_somebody_else_is_put_into_a_script_only_with_trust(hostile, rbp_here):
    assert hostile.path.parent == rbp_here.runs  # launched with another state directory
    refused = rbp_here("runs", "show", "own", "--reproduce", code=2).stderr
    assert "would execute code/nets.py, which you have not launched here" in refused
    assert "rbp train ./preset.toml" in rbp_here("runs", "show", "own", "--reproduce", "--trust").stdout


@settings(max_examples=25)
@given(st.one_of(st.binary(max_size=300), st.text(alphabet="END_\n'\\$`a", max_size=60).map(str.encode)))
def test_a_file_in_a_script_arrives_as_it_was(content):
    done = subprocess.run(["sh", "-c", f"{_file('/dev/stdout', content)}echo end"], capture_output=True, check=True)
    assert done.stdout == content + b"end\n"
