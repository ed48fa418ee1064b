"""The hosts of machine.toml in Runs: beside the local runs, read-only, and no burden when they are down."""

import asyncio
import os
import time
from types import SimpleNamespace

import pytest

from rbp_engine.run import track
from rbp_engine.settings.machine import Host
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.reading import hosts
from rbp_tui.dashboard.runs.run_table import RunTable
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.text_line import Line

EVERYTHING = "RBP_HOSTS" in os.environ  # make hosts


async def until(pilot, condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await pilot.pause()
        await asyncio.sleep(0.05)


@pytest.mark.asyncio
async def test_runs_of_other_hosts_stand_beside_those_here_and_are_only_looked_at(box, tmp_path, monkeypatch):
    for name, value in box.environment.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "machine.toml").write_text(
        f'[hosts.box]\nrbp = "{box.folder}/there/rbp"\nruns = "{box.runs}"\n[hosts.dead]\n'
    )
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    monkeypatch.setattr(hosts, "EVERY_S", 0.5)
    monkeypatch.setattr(hosts, "PAUSES_S", (0.5,))
    with track({}, run_id="local", runs_dir=tmp_path / "runs"):
        pass
    app = Dashboard(tmp_path / "runs")
    with track({}, run_id="afar", name="there", runs_dir=box.runs) as run:
        async with app.run_test(size=(120, 30)) as pilot:
            await pilot.press("2")
            table = app.screen.query_one(RunTable)
            assert isinstance(app.screen, RunsScreen)
            await until(pilot, lambda: "box:afar" in app.screen.rows.cells and "local" in app.screen.rows.cells)
            shown = "".join(str(one.text) for one in app.screen.rows.cells["box:afar"])
            assert "box: there" in shown and "▶" in shown
            line = app.screen.query_one("#hosts", Line)
            await until(pilot, lambda: "down since" in line.shown.plain)
            assert line.shown.plain.startswith("box: ") and "ago   dead: down since" in line.shown.plain
            table.move_cursor(row=table.get_row_index("box:afar"))
            for key in ("enter", "s", "k", "r", "t", "n", "x", "c", "C", "space") if EVERYTHING else ("enter", "s"):
                before = len(app._notifications)
                await pilot.press(key)
                await until(pilot, lambda before=before: len(app._notifications) > before)
                assert isinstance(app.screen, RunsScreen) and not app.screen.marked
            assert all("rbp --host box watch afar" in one.message for one in app._notifications)
            assert not run.stop_requested
            # It goes down: what is shown of it is no longer called live.
            monkeypatch.setenv("PATH", str(tmp_path))  # where there is no ssh
            await until(pilot, lambda: app.session.hosts["box"].problem)
            assert app.session.hosts["box"].records[-1].verdict.status == "stale"
            await until(pilot, lambda: "box: down since" in line.shown.plain)
            monkeypatch.setenv("PATH", box.environment["PATH"])
            await until(pilot, lambda: not app.session.hosts["box"].problem)


def asked(monkeypatch, questions):
    """What the host "box" is seen as after each of so many questions, and the pauses around them, without any."""
    sights, pauses = [], []
    reader = hosts.HostsReader(lambda news: sights.append(news.sight))
    ended = SimpleNamespace(wait=lambda pause: pauses.append(pause) or len(pauses) > questions, is_set=lambda: False)
    monkeypatch.setattr(reader, "_ended", ended)
    reader._ask_often(Host("box", "box"))
    return sights, pauses


def test_a_host_that_is_down_is_asked_less_and_less_often_and_as_usual_once_it_answers(fake_ssh, monkeypatch):
    count = 'grep -c BatchMode=yes "${0%ssh}words"'
    words = fake_ssh(f'case $({count}) in 7) echo "[]";; *) echo denied >&2; exit 255;; esac')
    sights, pauses = asked(monkeypatch, 8)
    assert pauses == [0.0, 30.0, 60.0, 120.0, 300.0, 300.0, 300.0, 10.0, 30.0]
    assert [sight.problem for sight in sights] == [*6 * ["box cannot be reached: denied"], "", sights[0].problem]
    assert words.read_text().count("\nrbp ls 'updated>7d' --json\n") == 8


def test_a_host_that_says_nothing_has_not_answered_once_patience_ends(fake_ssh, monkeypatch):
    fake_ssh("exec sleep 60")
    monkeypatch.setattr(hosts, "PATIENCE_S", 0.1)
    assert asked(monkeypatch, 1)[0][0].problem == "box has not answered within 0 s"
