"""Hosts that send more than any rbp does, by an `ssh` of our own: they fill no memory, and a sentence says so."""

import os
import sys

from rbp_tui.dashboard.reading.hosts import HostSeen, HostsReader
from rbp_tui.hosts.records import MOST_RUNS
from tests.waiting import wait_for

SSH = """#!{python}
import json
state = {{"status": "running", "preset": "p", "experiment": "e", "method": "m", "timesteps": 4, "seed": 1}}
try:
    print(json.dumps([dict(state, id="r%d" % number) for number in range({count})]))
except BrokenPipeError:
    pass
"""


def test_of_a_host_with_more_runs_than_a_table_holds_the_newest_are_shown_and_said(tmp_path, monkeypatch):
    (tmp_path / "machine.toml").write_text("[hosts.box]\n")
    for name in ("HOME", "XDG_STATE_HOME", "RBP_CONFIG"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / "ssh").write_text(SSH.format(python=sys.executable, count=MOST_RUNS + 7))
    (tmp_path / "ssh").chmod(0o755)
    sights = []
    problems = []

    def hear(news):
        (sights if isinstance(news, HostSeen) else problems).append(getattr(news, "sight", None) or news.problem)

    reader = HostsReader(hear)
    reader.start()
    try:
        wait_for(lambda: sights)
    finally:
        reader.stop()
    assert not sights[0].problem and len(sights[0].records) == MOST_RUNS
    assert sights[0].records[-1].summary.id == f"r{MOST_RUNS + 6}"
    assert problems == [f"box lists {MOST_RUNS + 7} recent runs; the newest {MOST_RUNS} are shown"]
