"""The Runs screen over run folders: table, query, marks, and actions on many runs."""

import asyncio
import os
import subprocess
import threading
from contextlib import asynccontextmanager

import pytest
from textual.widgets import Input, Static

from rbp_engine.preset import load_preset, resolved_toml
from rbp_engine.run.files.annotations import change_tags, set_archived
from rbp_engine.run.files.events import Scores, Validation
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.status import processes
from rbp_engine.run.store.store import list_runs
from rbp_engine.run.store.trash import list_trash, move_to_trash, restore
from rbp_tui.dashboard import run_screen
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.compare.compare_screen import CompareScreen
from rbp_tui.dashboard.dialogs import Ask, Confirm
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.runs.run_table import RunTable
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.text_line import Line
from tests.run_files import change_fields
from tests.waiting import wait_for

IDS = ["20260101-120000-digits-bptt-aaa1", "20260101-120001-digits-rate_m-bbb2", "20260101-120002-mnist5k-rate_m-ccc3"]


@pytest.fixture
def three(home, write_run):
    """Two seeds of digits and a failed mnist5k, newest last."""
    best = [0.95, 0.85, 0.75]
    for number, run_id in enumerate(IDS):
        write_run(
            home / "runs", run_id, preset=run_id.split("-")[2], method=run_id.split("-")[3], created=1.7e9 + number,
            experiment="ab"[number // 2], seed=number + 1, best=Scores(top1=best[number], epoch=3),
            status="completed" if number < 2 else "failed", reason="" if number < 2 else "CUDA out of memory",
        )  # fmt: skip
    return home / "runs"


@pytest.fixture
def opened(home, three, until):
    """Open a dashboard of those runs, or of what a test makes of them, with so many in its table."""

    @asynccontextmanager
    async def open_one(listed=3, size=(80, 24)):
        app = Dashboard(three)
        async with app.run_test(size=size) as pilot:
            await shows(app, pilot, until, listed)
            yield app, pilot

    return open_one


def table(app):
    return app.screen.query_one(RunTable)


def order(app):
    """The ids of the rows in the order in which the table shows them."""
    found = table(app)
    return [found.get_row_at(row)[-1].text for row in range(found.row_count)]


def line(app, name):
    widget = app.screen.query_one(name, Line)
    return str(widget.shown) if widget.display else ""


def headings(app):
    return [str(column.label).strip(" ↓↑") for column in table(app).ordered_columns][2:-1]


def notices(app):
    return [notice.message for notice in app._notifications]


async def shows(app, pilot, until, count):
    await until(pilot, lambda: isinstance(app.screen, RunsScreen) and table(app).row_count == count)
    await until(pilot, lambda: table(app).display)


async def until_order(app, pilot, until, *ids):
    await until(pilot, lambda: order(app) == list(ids))


async def write(app, pilot, until, query):
    await pilot.press("slash")
    app.screen.query_one("#query", Input).value = query
    await pilot.press("enter")


async def test_hundreds_of_runs_are_shown_filtered_and_sorted(dashboard, write_runs, until):
    app = dashboard
    write_runs(app.session.runs, 600)
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(app, pilot, until, 600)
        newest = app.session.records[-1].run.id
        assert order(app)[0] == table(app).current_key == newest
        await pilot.press("end")
        await until(pilot, lambda: table(app).current_key == app.session.records[0].run.id)
        await pilot.press("greater_than_sign", "less_than_sign", "i")
        await pilot.pause()
        assert table(app).current_key == app.session.records[0].run.id
        await write(app, pilot, until, "acc>0.89 seed=1")
        await until(pilot, lambda: 0 < table(app).row_count < 20)
        assert line(app, "#counts") == f"{table(app).row_count} of 600"
        await pilot.press("slash", "escape", "escape")
        await shows(app, pilot, until, 600)


async def test_a_key_or_a_click_on_a_heading_sorts_and_the_order_can_be_reversed(opened, until):
    async with opened(size=(120, 40)) as (app, pilot):
        assert order(app) == IDS[::-1]
        await until(pilot, lambda: table(app).max_scroll_x == 0)  # until it is laid out
        x = sum(column.width for column in table(app).ordered_columns[: headings(app).index("best %") + 2])
        await pilot.click(RunTable, offset=(x + 5, 0))
        await until_order(app, pilot, until, *IDS)
        await pilot.press("i")
        await until_order(app, pilot, until, *IDS[::-1])
        assert app.session.state.sort == "-best"
        await pilot.press("less_than_sign")
        await until(pilot, lambda: app.session.state.sort == "last")


async def test_the_cursor_stays_on_its_run_when_others_come_and_go(opened, three, until, write_run):
    async with opened() as (app, pilot):
        await pilot.press("down")
        assert table(app).current_key == IDS[1]
        write_run(three, "z-newest")
        await shows(app, pilot, until, 4)
        assert (table(app).current_key, table(app).cursor_row) == (IDS[1], 2)
        await pilot.press("i")
        await until(pilot, lambda: order(app)[0] == IDS[0])
        assert table(app).current_key == IDS[1]
        await write(app, pilot, until, "bptt or aaa1 or bbb2")
        await shows(app, pilot, until, 2)
        assert table(app).current_key == IDS[1]


async def test_a_query_filters_its_keys_trigger_no_action_and_a_wrong_one_is_explained(opened, three, until):
    async with opened() as (app, pilot):
        await pilot.press("slash", *"axk 2")
        assert isinstance(app.screen, RunsScreen) and app.screen.query_one("#query", Input).value == "axk 2"
        assert app.screen.marked == set() and "s" not in app.screen.active_bindings
        await pilot.press("escape", "escape")
        await write(app, pilot, until, "method:rate")
        await until_order(app, pilot, until, IDS[2], IDS[1])
        await write(app, pilot, until, "methd:rate")
        await until(pilot, lambda: "Did you mean 'method'" in line(app, "#problem"))
        assert order(app) == [IDS[2], IDS[1]]
        await write(app, pilot, until, "seed=99")
        await until(pilot, lambda: "No run fits" in str(app.screen.query_one("#empty", Static).render()))
        await until(pilot, lambda: not table(app).display)
        await pilot.press("escape")
        await shows(app, pilot, until, 3)


async def test_runs_of_an_experiment_are_grouped_marked_and_compared(opened, until):
    async with opened() as (app, pilot):
        await pilot.press("g")
        await until_order(app, pilot, until, IDS[2], "experiment:a", IDS[1], IDS[0])
        await pilot.press("home", "down")
        assert table(app).current_key == "experiment:a" and "2 runs of one experiment" in line(app, "#detail")
        await pilot.press("space")
        assert app.screen.marked == set(IDS[:2])
        assert table(app).current_key == "experiment:a"  # nothing is below but its own runs
        await pilot.press("space", "i")
        await until_order(app, pilot, until, "experiment:a", IDS[0], IDS[1], IDS[2])
        await pilot.press("home", "space")
        assert table(app).current_key == IDS[2]
        await pilot.press("home", "enter")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen))
        assert set(app.session.state.compared) == set(IDS[:2])


async def test_a_group_says_which_of_its_runs_are_not_in_its_mean_and_why(opened, three, until):
    change_fields(RunDirectory(three / IDS[0]), seed=2)
    async with opened(size=(140, 24)) as (app, pilot):
        await pilot.press("g", "home", "down")
        await until(pilot, lambda: "(1 not in the mean: others of the same seed count)" in line(app, "#detail"))
        await pilot.press("down")
        await until(pilot, lambda: IDS[1] in line(app, "#detail"))
        assert "not in the mean" not in line(app, "#detail")
        await pilot.press("down")
        reason = f"not in the mean: same experiment and seed as {IDS[1]}, which counts"
        await until(pilot, lambda: reason in line(app, "#detail"))


async def test_the_run_under_the_cursor_shows_its_reason_and_opens(opened, until):
    async with opened() as (app, pilot):
        await until(pilot, lambda: f"{IDS[2]}  failed · CUDA out of memory" in line(app, "#detail"))
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert app.session.opened == IDS[2]


async def test_runs_go_to_the_trash_and_come_back(opened, three, until):
    async with opened() as (app, pilot):
        await pilot.press("space", "space", "x")
        await shows(app, pilot, until, 1)
        assert len(list_trash(three)) == 2 and order(app) == [IDS[0]]
        assert any("moved 2 runs to the trash, u undoes it" in notice for notice in notices(app))
        await pilot.press("x")
        await until(pilot, lambda: len(list_trash(three)) == 3)
        await pilot.press("u")
        await shows(app, pilot, until, 1)
        await pilot.press("u")
        await shows(app, pilot, until, 3)
        assert list_trash(three) == []
        await pilot.press("u")
        await until(pilot, lambda: any("nothing to undo" in notice for notice in notices(app)))


async def test_archived_runs_are_out_of_the_table_until_the_filter_asks_for_them(opened, until):
    async with opened(size=(120, 40)) as (app, pilot):
        await pilot.press("A")
        await until_order(app, pilot, until, IDS[1], IDS[0])
        await until(pilot, lambda: line(app, "#counts") == "2 of 3, 1 archived")
        assert "the filter archived shows" in notices(app)[0]
        await write(app, pilot, until, "archived")
        await until_order(app, pilot, until, IDS[2])
        await pilot.press("A")
        await until(pilot, lambda: "No run fits" in str(app.screen.query_one("#empty", Static).content))
        await pilot.press("escape")
        await until_order(app, pilot, until, *reversed(IDS))
        await pilot.press("down", "A")
        await until_order(app, pilot, until, IDS[2], IDS[0])
        await pilot.press("u")
        await until_order(app, pilot, until, *reversed(IDS))


async def test_archived_runs_are_neither_opened_nor_compared_nor_stepped_to_unasked(opened, three, until):
    set_archived(RunDirectory(three / IDS[2]), archived=True)
    async with opened(2, size=(120, 40)) as (app, pilot):
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen) and app.session.opened == IDS[1])
        await pilot.press("greater_than_sign")
        assert app.session.opened == IDS[0]
        await pilot.press("4")
        await until(pilot, lambda: isinstance(app.screen, CompareScreen) and app.screen.compared.records)
        assert [record.run.id for record in app.screen.compared.records] == IDS[:2]


async def test_a_filter_holds_for_the_steps_to_other_runs_and_for_its_runs_directory_alone(opened, home, three, until):
    async with opened(size=(120, 40)) as (app, pilot):
        await write(app, pilot, until, "status:completed")
        await shows(app, pilot, until, 2)
        app.open_run(IDS[1])
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("greater_than_sign")
        assert app.session.opened == IDS[0]
        await pilot.press("less_than_sign")
        assert app.session.opened == IDS[1]
        app.open_run(IDS[2])  # the filter does not show it
        await pilot.press("less_than_sign")
        assert app.session.opened == IDS[1]
    assert Dashboard(three).session.query == ""  # it would hide what has come since


async def test_actions_that_do_not_apply_are_explained(opened, three, until, write_run):
    write_run(three, "live", status="running")
    async with opened(4) as (app, pilot):
        await pilot.press("x")
        await until(pilot, lambda: "nothing to trash: live is running" in notices(app))
        assert (three / "live").is_dir()
        await pilot.press("down", "s", "k")
        await until(pilot, lambda: f"nothing to stop: {IDS[2]} is failed" in notices(app))
        await until(pilot, lambda: f"nothing to kill: {IDS[2]} is failed" in notices(app))
        await pilot.press("up", "r")
        await until(pilot, lambda: "nothing to resume: live is running" in notices(app))


async def test_completed_runs_that_a_resume_of_several_leaves_out_are_named(opened, three, until, monkeypatch):
    resumed = []
    monkeypatch.setattr(run_screen.start, "resume", lambda run: resumed.append(run.id))
    async with opened() as (app, pilot):
        await pilot.press("a", "r")
        await until(pilot, lambda: f"resuming {IDS[2]}" in notices(app))
        assert "resume leaves out 2 runs: completed; alone they train for longer" in notices(app)
    assert resumed == [IDS[2]]


async def test_what_a_failed_run_has_left_is_killed_and_its_status_stays(opened, three, until):
    run = RunDirectory(three / IDS[2])
    left = subprocess.Popen(["sleep", "infinity"], env=os.environ | processes.marker(run))
    await asyncio.to_thread(wait_for, lambda: processes.processes_of(run))
    async with opened() as (app, pilot):
        await pilot.press("k")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("enter")
        await until(pilot, lambda: left.poll() is not None)
        await until(pilot, lambda: f"killed {IDS[2]}" in notices(app))
    assert read_summary(run).status == "failed"


async def test_a_run_whose_own_code_has_the_fault_is_not_resumed(opened, three, until, write_run):
    write_run(three, "own", status="failed", cause="own_code")
    async with opened(4) as (app, pilot):
        await pilot.press("r")
        await until(pilot, lambda: "nothing to resume: own is failed; Enter shows why" in notices(app))


async def test_resume_of_a_completed_run_asks_for_how_many_epochs(opened, three, until):
    (three / IDS[1] / "preset.toml").write_text(resolved_toml(load_preset("digits", ["epochs=20"]).preset))
    async with opened() as (app, pilot):
        await pilot.press("down", "r")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        assert f"{IDS[1]} has completed 20 epochs. How many shall it be in all?" in app.screen.question
        assert app.screen.value == "40"
        await pilot.press("backspace", "backspace", "5", "enter")
        await until(pilot, lambda: "needed: a whole number above 20" in notices(app))
        await until(pilot, lambda: isinstance(app.screen, Ask) and app.screen.value == "5")
        await pilot.press("5", "0", "enter")
        await until(pilot, lambda: any("has no checkpoint" in said for said in notices(app)))


async def test_several_runs_are_stopped_or_killed_at_once_after_a_question(opened, three, until, write_run):
    live = [write_run(three, name, status="running") for name in ("live-1", "live-2")]
    async with opened(5) as (app, pilot):
        await pilot.press("a", "s")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("escape")
        await pilot.pause()
        assert not any(run.stop_request.exists() for run in live)
        await pilot.press("s", "enter")
        await until(pilot, lambda: all(run.stop_request.exists() for run in live))
        await until(pilot, lambda: "asked 2 runs to stop" in notices(app))
        await pilot.press("k")
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        assert "Kill 2 runs?" in app.screen.question
        await pilot.press("escape")
        await pilot.pause()
    assert [read_summary(run).status for run in live] == ["running", "running"]


async def test_a_key_right_after_the_filter_acts_on_the_run_that_it_shows(opened, three, until):
    async with opened() as (app, pilot):
        await pilot.press("slash", *"bptt", "enter", "A")
        await until(pilot, lambda: notices(app))
        archived = [record.run.id for record in list_runs(three) if record.annotations.archived]
        assert archived == [record.run.id for record in list_runs(three) if record.summary.method == "bptt"]


async def test_several_runs_are_tagged_at_once_and_tags_set_by_others_show(opened, three, until):
    async with opened(size=(170, 40)) as (app, pilot):
        change_tags(list_runs(three)[0].run, add=["draft"])
        await until(pilot, lambda: "tags" in headings(app))
        await pilot.press("a", "t")
        await until(pilot, lambda: isinstance(app.screen, Ask))
        await pilot.press(*"+paper -draft")
        await pilot.press("enter")
        await until(pilot, lambda: {record.tags for record in list_runs(three)} == {("paper",)})


async def test_what_is_still_going_to_the_trash_is_not_undone_by_the_move_before_it(opened, three, until, monkeypatch):
    go_on = threading.Event()
    monkeypatch.setattr(run_screen, "move_to_trash", lambda run: go_on.wait(60) and move_to_trash(run))
    async with opened() as (app, pilot):
        gone = move_to_trash(list_runs(three)[2].run).run
        app.session.moved.append(([gone], lambda run: restore(three, run.id)))
        await shows(app, pilot, until, 2)
        await until(pilot, lambda: table(app).current_key == IDS[1] and app.screen.targets)
        await pilot.press("x", "u")
        await until(pilot, lambda: any("under way" in one.message for one in app._notifications))
        go_on.set()
        await until(pilot, lambda: len(list_trash(three)) == 2)
        await until(pilot, lambda: all(one.is_finished for one in app.workers if one.group == run_screen.ACTING))
        await pilot.press("u")
        await until(pilot, lambda: [entry.id for entry in list_trash(three)] == [IDS[2]])


async def test_marks_hidden_by_the_filter_are_counted_but_not_acted_on(opened, three, until):
    async with opened() as (app, pilot):
        await pilot.press("space")
        await write(app, pilot, until, "bptt")
        await shows(app, pilot, until, 1)
        assert "1 marked (1 hidden)" in line(app, "#counts")
        await pilot.press("x")
        await until(pilot, lambda: [entry.id for entry in list_trash(three)] == [IDS[0]])


async def test_the_cursor_goes_to_the_run_opened_elsewhere_even_before_it_is_listed(opened, three, until, write_run):
    async with opened() as (app, pilot):
        await pilot.press("down")
        await until(pilot, lambda: table(app).current_key == IDS[1])
        await pilot.press("1")
        app.open_run("20260101-120003-digits-rate_m-ddd4")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        await pilot.press("2")
        write_run(three, "20260101-120003-digits-rate_m-ddd4", created=1.7e9 + 3)
        await until(
            pilot, lambda: [one.run.id for one in app.screen.under_cursor] == ["20260101-120003-digits-rate_m-ddd4"]
        )
        await pilot.press("down", "5", "2")  # from now on the cursor stays where it was left
        await shows(app, pilot, until, 4)
        await pilot.pause(0.5)
        assert table(app).current_key == IDS[2]


async def test_every_action_is_in_the_palette_with_its_key_and_keys_are_in_the_help(opened, until):
    async with opened() as (app, pilot):
        await until(pilot, lambda: app.screen.focused is table(app))
        helps = {command.title: command.help for command in app.get_system_commands(app.screen)}
        assert {
            "Open", "Mark all, or none", "Compare", "Stop: after saving", "Kill: at once, without saving", "Tags",
            "Note", "Trash: can be undone with u", "Find", "Reverse the order", "Back", "Make a preset of the run",
            f"Open run {IDS[0]}",
        } <= helps.keys()  # fmt: skip
        assert helps["Open"] == "key Enter" and helps["Help: with keys; again for more, Esc hides it"] == "key ?"
        assert helps["Show monitor"] == "key 3"
        await pilot.press("ctrl+p", *"mark all")
        await pilot.pause(0.5)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen) and len(app.screen.marked) == 3)


async def test_visible_runs_show_a_sparkline_of_their_validations(home, write_run, until):
    bodies = tuple(Validation(epoch, 0.5, epoch / 10, None, 100) for epoch in range(1, 9))
    write_run(home / "runs", "half", bodies=bodies, epochs=16)
    write_run(home / "runs", "whole", bodies=bodies[:4], epochs=4)
    app = Dashboard(home / "runs")
    async with app.run_test(size=(120, 40)) as pilot:
        await shows(app, pilot, until, 2)
        await until(pilot, lambda: any(" ▁▂▃▅▆▇ " in cell.text for cell in table(app).get_row("half")))
        await until(pilot, lambda: any(" ▁▁▁▂▂▂▃▃▃▄▄▄" in cell.text for cell in table(app).get_row("whole")))
