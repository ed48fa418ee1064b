"""What all screens share: tabs, the row of keys, help, jumping, the palette, export of tables, and leaving."""

import csv
import json
from collections import Counter

import pytest
from textual.widgets import DataTable, Input, OptionList, Static

from rbp_engine.run.files.layout import read_json, write_json
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.dialogs import Confirm, ConfirmLeaving
from rbp_tui.dashboard.help import TASKS, Help, PaneHelp
from rbp_tui.dashboard.jump import Jump
from rbp_tui.dashboard.key_bar import KeyBar
from rbp_tui.dashboard.keys import names_of_keys
from rbp_tui.dashboard.presets.name_dialog import Tick
from tests.run_files import change_fields

pytestmark = pytest.mark.asyncio


@pytest.fixture
def app(home, end_run, monkeypatch):
    """A dashboard over two finished runs."""
    monkeypatch.chdir(home)
    for seed in (1, 2):
        end_run(home / "runs", f"digits-{seed}", f"seed={seed}", curve=[0.7, 0.8 + seed / 100])
    return Dashboard(home / "runs")


def row_of_keys(app):
    return app.screen.query_one(KeyBar).shown.plain


def said(app):
    return app.screen.query(Static).first().content.plain


async def test_tabs_can_be_clicked(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.current_mode == "runs")
        for name in ("system", "presets", "monitor"):
            (bar,) = app.screen.query("TopBar")
            at = bar.shown.plain.index(name.capitalize())
            await pilot.click("TopBar", offset=(at + 1, 0))
            await until(pilot, lambda name=name: app.current_mode == name)


async def test_the_row_of_keys_fits_and_always_ends_with_help_and_leave(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        for key in "12345":
            await pilot.press(key)
            await until(pilot, lambda: row_of_keys(app).endswith("? help  q leave"))
            assert len(row_of_keys(app)) <= 80


async def test_the_row_of_keys_follows_the_focus(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        await pilot.press("3")
        await until(pilot, lambda: "+- zoom" in row_of_keys(app))
        app.screen.query_one("#log_lines").focus()
        await until(pilot, lambda: "+- zoom" not in row_of_keys(app))
        await pilot.press("2")
        await until(pilot, lambda: "space mark" in row_of_keys(app))
        await pilot.press("slash")
        # Letters go into the filter now, so none is offered.
        await until(pilot, lambda: "space mark" not in row_of_keys(app) and "F1 help" in row_of_keys(app))
        assert "q leave" not in row_of_keys(app)


async def test_a_key_in_the_row_can_be_clicked(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: "space mark" in row_of_keys(app))
        await pilot.click("KeyBar", offset=(row_of_keys(app).index("? help") + 3, 0))
        await until(pilot, lambda: isinstance(app.screen, Help))


async def test_help_is_grouped_by_task_and_f1_has_the_keys_of_the_pane_with_two_tips(app, until):
    async with app.run_test(size=(100, 40)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        await pilot.press("3")
        await until(pilot, lambda: "+- zoom" in row_of_keys(app))
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        headings = [line for line in said(app).split("\n") if line and not line.startswith(" ") and "  " not in line]
        assert headings == ["This run", "Look", "Charts", "Move", "Everywhere"]
        await pilot.press("escape", "f1")
        await until(pilot, lambda: isinstance(app.screen, PaneHelp))
        assert said(app).startswith("Chart\n") and "chart.zoom_in" in said(app) and "monitor." not in said(app)
        assert said(app).count("•") == 2


async def test_the_tasks_of_help_name_keys_that_exist(home):
    known = names_of_keys()
    named = [name for names in TASKS.values() for name in names]
    assert [name for name in named if not any(one == name or one.startswith(f"{name[:-1]}.") for one in known)] == []


async def test_jump_shows_a_letter_on_each_pane_and_goes_there(app, until):
    async with app.run_test(size=(120, 40)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        await pilot.press("3")
        await until(pilot, lambda: isinstance(app.focused, CurveChart))
        await pilot.press("grave_accent")
        await until(pilot, lambda: isinstance(app.screen, Jump))
        signs = {sign.region.offset: str(sign.content).strip() for sign in app.screen.query(".jump").results(Static)}
        log = app.screen_stack[-2].query_one("#log_lines")
        await pilot.press(signs[log.region.offset])
        await until(pilot, lambda: app.focused is log)
        await pilot.press("grave_accent")
        await until(pilot, lambda: isinstance(app.screen, Jump))
        await pilot.press("Z")
        await until(pilot, lambda: app.focused is log)


async def test_the_palette_lists_each_action_once_and_finds_presets_by_typing(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        for key in "1243":
            await pilot.press(key)
            await pilot.pause()
            commands = list(app.get_system_commands(app.screen))
            listed = [command.title for command in commands if command.discover]
            assert [title for title, times in Counter(listed).items() if times > 1] == []
            assert not {"Quit", "Keys", "Screenshot", "Maximize"} & set(listed)
            assert not [title for title in listed if title.startswith(("Preset ", "Open run "))]
        assert {"Preset digits", "Open run digits-1"} <= {command.title for command in commands}
        await pilot.press("ctrl+p", *"mnist5k")
        found = app.screen.query_one("CommandList", OptionList)
        await until(pilot, lambda: found.option_count and "mnist5k" in str(found.get_option_at_index(0).prompt))


async def test_the_focused_table_is_exported_as_csv_and_json(app, home, until):
    async with app.run_test(size=(160, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 2)
        await pilot.press("ctrl+e")
        await until(pilot, lambda: list(home.glob("rbp-export/runs-table-at-*/table.json")))
        (folder,) = home.glob("rbp-export/runs-table-at-*")
    rows = list(csv.DictReader((folder / "table.csv").open()))
    assert {row["key"] for row in rows} == {"digits-1", "digits-2"}
    assert {row["last %"] for row in rows} == {"81.0", "82.0"}
    assert [row["key"] for row in json.loads((folder / "table.json").read_text())] == [row["key"] for row in rows]


async def test_the_export_of_runs_has_whole_names_and_reasons_where_the_table_cuts_them(
    home, until, end_run, monkeypatch
):
    monkeypatch.chdir(home)
    name, reason = f"a-name-{'long-' * 20}end", f"an error of many words {'again ' * 40}and the end"
    run = end_run(home / "runs", "failed-1", curve=[0.5])
    change_fields(run, status="failed", reason=reason, name=name)
    app = Dashboard(home / "runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.screen.query_one(DataTable).row_count == 1)
        await pilot.press("ctrl+e")
        await until(pilot, lambda: list(home.glob("rbp-export/runs-table-at-*/table.json")))
    (file,) = home.glob("rbp-export/runs-table-at-*/table.csv")
    (row,) = csv.DictReader(file.open())
    assert (row["key"], row["status"], row["run"], row["reason"]) == ("failed-1", "failed", name, reason)
    assert row["last %"] == "50.0"


async def test_where_nothing_can_be_exported_it_says_what_can(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("1", "ctrl+e")
        await until(pilot, lambda: any("a chart can be exported" in note.message for note in app._notifications))


async def test_leaving_with_live_runs_is_confirmed_by_the_same_key_and_nothing_else_is(home, until, end_run):
    runs = home / "runs"
    run = end_run(runs, "queued-1", curve=[0.5])
    write_json(run.summary_json, read_json(run.summary_json) | {"status": "queued"})
    app = Dashboard(runs)
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.session.listed)
        assert app.session.live
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmLeaving))
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(app.screen, ConfirmLeaving))
        answers = []
        app.push_screen(Confirm("Kill it?", "kill"), answers.append)
        await until(pilot, lambda: isinstance(app.screen, Confirm))
        await pilot.press("q")
        await until(pilot, lambda: answers == [False])
        await pilot.press("q")
        await until(pilot, lambda: isinstance(app.screen, ConfirmLeaving))
        await pilot.press("q")
        await until(pilot, lambda: not app.is_running)


async def test_an_unticked_box_is_empty(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press("1", "n")
        await until(pilot, lambda: app.screen.query(Tick))
        for box in app.screen.query(Tick):
            for ticked in (True, False):
                box.value = ticked
                assert ("✓" in str(box.render())) == ticked and "X" not in str(box.render())
        assert app.screen.query_one(Input).has_focus
