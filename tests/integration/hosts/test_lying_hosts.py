"""Hosts that send more than any rbp does, by an `ssh` of our own: they fill no memory, and a sentence says so."""

import os
import sys
import time
from pathlib import Path

import pytest

from rbp_tui.dashboard.reading.hosts import HostSeen, HostSight, HostsReader
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


def test_of_a_host_with_more_runs_than_a_table_holds_the_newest_are_shown_and_said(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    lie(tmp_path, f"print(json.dumps([dict(state, id='r%d' % n) for n in range({MOST_RUNS + 7})]))")
    sights: list[HostSight] = []
    problems: list[str] = []

    def hear(news):
        (sights if isinstance(news, HostSeen) else problems).append(getattr(news, "sight", None) or news.problem)

    reader = HostsReader(hear)
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
