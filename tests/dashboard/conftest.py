"""The dashboard over its own runs directory, with real workers."""

import contextlib
import functools
import os
import sys
import time

import pytest
from textual.css.query import NoMatches
from textual.css.stylesheet import Stylesheet

from rbp_engine.preset import load
from rbp_engine.preset.find import bundled_folder
from rbp_engine.run import control
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.status import judge
from rbp_tui.dashboard.app import Dashboard
from tests import run_files
from tests.dashboard.idle_loop import watch_loops
from tests.dashboard.screen_pictures import FOLDER, compare_with
from tests.terminal import Terminal


@pytest.fixture(scope="session", autouse=True)
def idle_loops():
    """Pilots go on when event loops are idle, however busy the machine is."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        watch_loops(monkeypatch)
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed_styles():
    """Style sheets are parsed once, not for each dashboard: a fifth of the time to its first frame."""
    parsed, parse = {}, Stylesheet._parse_rules

    def parse_once(sheet, *words, **keywords):
        key = (frozenset(sheet._variables.items()), words, frozenset(keywords.items()))
        if key not in parsed:
            parsed[key] = parse(sheet, *words, **keywords)
        return parsed[key]

    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(Stylesheet, "_parse_rules", parse_once)
        yield


@pytest.fixture(scope="session", autouse=True)
def parsed_presets():
    """The bundled presets are read once, not by each dashboard: another fifth."""
    read, bundled = load._entry, bundled_folder()
    once = functools.cache(read)
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(load, "_entry", lambda path: once(path) if path.parent == bundled else read(path))
        yield


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A user without settings; workers find the package and use one thread."""
    for name in list(os.environ):
        if name.startswith("RBP_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("OMP_WAIT_POLICY", "PASSIVE")
    return tmp_path


@pytest.fixture
def dashboard(home):
    """A dashboard; the runs that it leaves alive are killed at the end."""
    app = Dashboard(home / "runs")
    yield app
    if app.session.runs.is_dir():
        for path in app.session.runs.iterdir():
            run = RunDirectory(path)
            if judge(run).live:
                control.kill(run)


@pytest.fixture
def until():
    """Wait until a condition holds and the screen is composed, while the app keeps running."""

    def holds(app, condition):
        with contextlib.suppress(NoMatches):  # a widget that is not composed yet
            return condition() and all(screen.is_mounted for screen in app.screen_stack[-1:])

    async def wait(pilot, condition, timeout=60.0):
        deadline = time.monotonic() + timeout
        while not holds(pilot.app, condition):
            assert time.monotonic() < deadline, "it did not happen in time"
            await pilot.pause()  # for a frame at least

    return wait


@pytest.fixture
def same_picture(request):
    """Compare how an app looks with the file of this test, after `settle` and keys."""

    def compare(app, size, settle=None, keys=()):
        compare_with(FOLDER / request.path.stem / f"{request.node.name}.txt", app, size, settle, keys)

    return compare


@pytest.fixture
def open_terminal(home):
    opened = []

    def open_one(*words, code="from rbp_tui.cli import main; main()"):
        environment = os.environ | {"TERM": "xterm-256color", "RBP_RUNS": str(home / "runs")}
        opened.append(Terminal([sys.executable, "-c", code, *words], environment))
        opened[-1].read_until(lambda: b"Presets" in opened[-1].output)
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


@pytest.fixture(scope="session")
def end_run():
    """Make a run that has ended."""
    return run_files.end_run
