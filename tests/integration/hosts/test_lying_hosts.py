"""Hosts that send more than any rbp does, by an `ssh` of our own: they fill no memory, and a sentence says so."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rbp_tui.dashboard.reading.hosts import HostSight, HostsReader
from rbp_tui.hosts.records import MOST_RUNS

ROOT = Path(__file__).parents[3]
SSH = """#!{python}
import json, os, sys
state = {{"id": "abc", "status": "running", "preset": "p", "experiment": "e", "method": "m", "timesteps": 4, "seed": 1}}
line = json.dumps({{"state": state}}).encode() + b"\\n"
try:
    {body}
except BrokenPipeError:
    pass
"""
MIB = 2**20
# Not what wait4 tells: that begins with the memory of the process that forked, which is of any size.
COMMAND = """\
import os
from pathlib import Path
from rbp_tui.cli import main
try:
    main()
finally:
    (peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    Path(os.environ["HOME"], "peak").write_text(peak.split()[1])
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """That of a user who has one other host, "box"; what it answers is up to `lie`."""
    (tmp_path / "machine.toml").write_text("[hosts.box]\n")
    return os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_STATE_HOME": str(tmp_path),
        "RBP_CONFIG": str(tmp_path),
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }


def lie(folder: Path, body: str) -> None:
    (folder / "ssh").write_text(SSH.format(python=sys.executable, body=body))
    (folder / "ssh").chmod(0o755)


def rbp(environment: dict[str, str], *words: str) -> tuple[int, str, float]:
    """The exit code of a command, what it says, and the most memory that it has taken, in MiB."""
    command = [sys.executable, "-c", COMMAND, "--host", "box", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    return done.returncode, done.stderr.decode(), int(Path(environment["HOME"], "peak").read_text()) / 1024


def test_a_watch_of_lines_without_end_takes_no_more_memory_than_is_shown_at_once(
    environment: dict[str, str], tmp_path: Path
) -> None:
    end = """[os.write(1, part) for part in [line] + [b"x" * (3 * 2**20) + b"\\n"] * 200]
    os.write(1, line.replace(b"running", b"completed"))"""
    lie(tmp_path, end)
    code, said, peak = rbp(environment, "watch", "last")
    assert code == 0, said
    assert peak < 300


def test_a_line_without_end_is_refused(environment: dict[str, str], tmp_path: Path) -> None:
    lie(tmp_path, "[os.write(1, part) for part in [line] + [b'x' * 2**20] * 400]")
    code, said, peak = rbp(environment, "watch", "last")
    assert code and "box sends a line of more than 4 MiB, which no rbp does" in " ".join(said.split())
    assert peak < 300


def test_a_launch_is_answered_by_the_id_of_a_run_and_not_by_a_flood(
    environment: dict[str, str], tmp_path: Path
) -> None:
    lie(tmp_path, "[os.write(1, b'hello\\n' * 10_000) for _ in range(2000)]")
    code, said, peak = rbp(environment, "train", "digits")
    assert code and "box sends more than 1 MiB in place of a run's id" in " ".join(said.split())
    assert peak < 300


def test_of_a_host_with_more_runs_than_a_table_holds_the_newest_are_shown_and_said(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    lie(tmp_path, f"print(json.dumps([dict(state, id='r%d' % n) for n in range({MOST_RUNS + 7})]))")
    sights: list[HostSight] = []
    problems: list[str] = []
    reader = HostsReader(sights.append, problems.append)
    reader.start()
    try:
        until = time.monotonic() + 60
        while not sights:
            assert time.monotonic() < until
            time.sleep(0.05)
    finally:
        reader.stop()
    assert not sights[0].problem and len(sights[0].records) == MOST_RUNS
    assert sights[0].records[-1].summary.id == f"r{MOST_RUNS + 6}"
    assert problems == [f"box lists {MOST_RUNS + 7} recent runs; the newest {MOST_RUNS} are shown"]
