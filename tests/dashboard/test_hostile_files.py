"""Damaged, foreign, enormous and missing files: the dashboard keeps working and reports each once."""

import inspect
import json
import os
from collections import Counter
from pathlib import Path

import pytest
from textual.widgets import Input

from rbp_engine.run.files.annotations import set_note
from rbp_engine.run.files.events import Metrics, RunStart, System, Validation
from rbp_engine.run.files.summary import read_summary
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.runs.columns import BY_NAME
from rbp_tui.dashboard.runs.run_table import RunTable
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.view_state import ViewState, load_state
from tests.run_files import change_fields, change_identity, change_summary

USUAL = (
    RunStart(steps_per_epoch=2, epochs=4, epoch=0),
    *(Metrics(step // 2, 1 / step, 0.5, 0.1, 100.0, 5.0, 1.0) for step in range(1, 5)),
    System(mem_allocated=2**30, mem_peak=2**31, rss=2**30),
    Validation(1, 0.5, 0.6, None, 100),
    Validation(2, 0.4, 0.7, None, 100),
)
ENVELOPE = '"v": 1, "seq": 9, "attempt": 1, "rank": 0'
HUGE = 10 * 2**20


def add(run, *lines):
    with run.events().open("ab") as file:
        for line in lines:
            file.write(line if isinstance(line, bytes) else line.encode() + b"\n")


def unknown_kinds(run):
    add(run, f'{{{ENVELOPE}, "t": 1.0, "step": 9, "kind": "premonition", "of": []}}')


def another_version(run):
    add(run, *(line.replace('"v": 1', '"v": 2') for line in run.events().read_text().splitlines()))


def back_in_time(run):
    lines = run.events().read_text().splitlines()
    add(run, *reversed(lines), f'{{{ENVELOPE}, "t": 0, "step": 0, "kind": "heartbeat"}}')


def not_finite(run):
    metrics = '"kind": "metrics", "epoch": 1, "lr": 0.1, "top1": null'
    for number, loss in enumerate(("NaN", "Infinity", "-Infinity", "1e999", "null", "1e308", "-1e308", "5e-324")):
        add(run, f'{{{ENVELOPE}, "t": {number + 1}, "step": {number}, {metrics}, "loss": {loss}, "step_ms": {loss}}}')


def wrong_types(run):
    kinds = ("metrics", "validation", "system", "checkpoint", "run_start", "run_end", "warning", "error", "probe")
    add(
        run,
        *(
            f'{{{ENVELOPE}, "t": 5, "step": 9, "kind": "{kind}", '
            + ", ".join(f'"{name}": {value}' for name in ("epoch", "loss", "name", "message", "status", "values"))
            + f', "steps_per_epoch": {value}, "world_size": {value}}}'
            for kind in kinds
            for value in ('"x"', "[]", "{}", "true", "-1", "0", str(10**400))
        ),
        "[" * 100_000,
        b"\x00\xff\xfe\n",
    )


def a_line_of_10_mb(run):
    for path in (run.events(), run.stdout()):
        with path.open("ab") as file:
            file.truncate(file.tell() + HUGE)
    add(run, b"\n", f'{{{ENVELOPE}, "t": 9, "step": 9, "kind": "heartbeat"}}')


def the_log_is_binary(run):
    run.stdout().write_bytes(os.urandom(2**16) + b"\x1b[2J\x1b]0;title\x07" + b"\n" * 100)
    run.stderr().write_bytes(b"\r" * 10_000 + b"[/bold] Traceback (most recent call last):\n" * 50)


def summary_with_wrong_values(run):
    change_summary(run, best={"top1": "x", "epoch": []}, tags=[1], step="9")


def summary_not_finite(run):
    values = json.loads(run.summary_json.read_text())
    odd = {"samples_per_s": float("nan"), "best": {"top1": float("inf"), "epoch": float("nan")}, "mem_peak": 10**30}
    run.summary_json.write_text(json.dumps(values | odd))


def summary_cut_off(run):
    run.summary_json.write_bytes(run.summary_json.read_bytes()[:100])


def summary_is_a_folder(run):
    run.summary_json.unlink()
    run.summary_json.mkdir()


def identity_is_nonsense(run):
    run.run_json.write_text('{"format": 1, "settings": [], "git": 3}')
    run.attempt(1).write_text('{"attempt": 1, "process": [], "t": "yesterday", "resources": {"nodes": {}}}')
    run.preset_toml.write_bytes(b"\xff = = [")
    run.annotations_json.write_text('{"added": "paper", "removed": 7, "note": ["x"]}')


def names_with_escape_sequences(run):
    odd = {"name": "\x1b[2J[red]gone[/] [/nothing]", "preset": "a\nb", "tags": ["\x07", "[bold]"], "method": "[x]"}
    change_identity(run, **odd)
    change_summary(run, status="failed", reason="line\nline [/red] \x1b[31m")
    set_note(run, "[/] \x1b]0;title\x07\n" * 100)


def from_the_future(run):
    change_fields(run, status="running", updated=4.1e9, created=9e10)
    for path in (run.summary_json, run.events(), run.path):
        os.utime(path, (4.1e9, 4.1e9))


def from_the_past(run):
    change_fields(run, status="running", updated=0, progressed=0, created=0)
    for path in (run.summary_json, run.events(), run.path):
        os.utime(path, (0, 0))


def more_done_than_there_is_to_do(run):
    odd = {"status": "running", "step": 10**15, "steps": 1, "epoch": -5, "epochs": 0, "trained_s": -1e300, "seed": -1}
    change_summary(run, **odd)


def pipes_in_place_of_files(run):
    for path in (run.events(), run.annotations_json, run.stdout(), run.preset_toml):
        path.unlink(missing_ok=True)
        os.mkfifo(path)


def summary_is_a_pipe(run):
    run.summary_json.unlink()
    os.mkfifo(run.summary_json)


def events_may_not_be_read(run):
    run.events().chmod(0)


def the_folder_may_not_be_read(run):
    run.path.chmod(0)


HOSTILE = (
    unknown_kinds, another_version, back_in_time, not_finite, wrong_types, a_line_of_10_mb,
    the_log_is_binary,
    summary_with_wrong_values, summary_not_finite, summary_cut_off, summary_is_a_folder, summary_is_a_pipe,
    pipes_in_place_of_files, identity_is_nonsense, names_with_escape_sequences, from_the_future, from_the_past,
    more_done_than_there_is_to_do, events_may_not_be_read, the_folder_may_not_be_read,
)  # fmt: skip
#: A damaged summary is made anew from the other files.
UNREADABLE = {"identity-is-nonsense", "the-folder-may-not-be-read"}
LINES_LEFT_OUT = {"unknown-kinds", "another-version", "wrong-types", "a-line-of-10-mb"}


@pytest.fixture
def runs(home, write_run, without_privileges):
    """One run for each kind of damage above, and a good one."""
    runs = home / "runs"
    write_run(runs, "good", bodies=USUAL, created=1.0)
    for number, damage in enumerate(HOSTILE):
        name = damage.__name__.replace("_", "-")
        damage(write_run(runs, name, bodies=USUAL, experiment=f"e{number}", created=2.0 + number))
    (runs / "loop").symlink_to(runs / "loop")
    yield runs
    for path in runs.glob("*-may-not-be-read"):
        path.chmod(0o755)


async def listed(app, pilot, until, count):
    await until(pilot, lambda: isinstance(app.screen, RunsScreen) and app.screen.query_one(RunTable).row_count == count)


class Listened(Dashboard):
    """A dashboard that records its notifications, which expire on screen."""

    CSS_PATH = Path(inspect.getfile(Dashboard)).with_name("dashboard.tcss")

    def __init__(self, runs):
        self.messages = []
        super().__init__(runs)

    def notify(self, message, **options):
        self.messages.append(message)
        super().notify(message, **options)


async def test_every_screen_keeps_working_and_unreadable_files_are_reported_once(runs, until):
    app = Listened(runs)
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        count = len(HOSTILE) + 1
        await listed(app, pilot, until, count)
        statuses = {record.run.id: record.verdict.status for record in app.session.records}
        assert {name for name, status in statuses.items() if status == "unreadable"} == UNREADABLE
        assert all(record.verdict.reason for record in app.session.records if not record.readable)
        for name in statuses:
            app.open_run(name)
            await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
            await until(pilot, lambda name=name: app.session.sights.get(name) is not None)
            await pilot.press("h")
            await pilot.press("6")
        await until(pilot, lambda: len(app.session.sights.get("good").history.curves["train/loss"]) == 4)
        before = list(app.messages)
        unreadable = [text for text in before if f"{len(UNREADABLE)} runs cannot be read" in text]
        assert len(unreadable) == 1 and "status:unreadable" in unreadable[0]
        for name in LINES_LEFT_OUT | {"events-may-not-be-read"}:
            assert len([text for text in before if text.startswith(f"{name}: ")]) == 1, name
        app.compare(list(statuses))
        await pilot.pause(0.3)
        for key in "12345":
            await pilot.press(key)
            await pilot.pause(0.1)
        await pilot.press("2")
        await listed(app, pilot, until, count)
        assert app.messages == before


async def test_the_table_shows_sorts_groups_and_filters_whatever_the_files_contain(runs, until):
    app = Dashboard(runs)
    async with app.run_test(size=(200, 60)) as pilot:
        count = len(HOSTILE) + 1
        await listed(app, pilot, until, count)
        for _ in BY_NAME:
            await pilot.press("greater_than_sign")
        await pilot.press("i", "g")
        members = Counter(record.summary.experiment for record in app.session.records if record.readable)
        await listed(app, pilot, until, count + sum(several > 1 for several in members.values()))
        shown = "".join(cell.text for cells in app.screen.rows.cells.values() for cell in cells)
        assert shown.replace("\u202f", " ").isprintable()  # the space in 4 812
        for query in ("acc>0", "lr=0.1", "note:title", "host=x", "age<1d", "eta<1h", "mem>0 or not mem>0", "run:gone"):
            app.screen.query_one("#query", Input).value = query
            await pilot.pause(0.3)
        assert app.screen.rows.problem == ""


@pytest.fixture
def state_file(home):
    state = home / "state" / "rbp" / "dashboard.json"
    state.parent.mkdir(parents=True)
    return state


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "[" * 9999, '{"theme": 3}'], ids=["empty", "cut off", "a list", "deep", "wrong type"]
)
async def test_a_broken_state_file_is_as_none(state_file, text):
    state_file.write_text(text)
    assert load_state() == ViewState()


@pytest.mark.parametrize(
    "text", ['{"columns": [1], "sort": "mood", "loss_smoothing": 1e300}', '{"loss_smoothing": NaN}'],
    ids=["wrong values", "not finite"],
)  # fmt: skip
async def test_odd_values_in_the_state_file_do_not_prevent_the_start(state_file, home, write_run, until, text):
    state_file.write_text(text)
    write_run(home / "runs", "run", updated=2e300 if "1e300" in text else 1.0)
    app = Dashboard(home / "runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await listed(app, pilot, until, 1)
    assert read_summary(app.session.records[0].run) is None or app.session.records[0].readable
