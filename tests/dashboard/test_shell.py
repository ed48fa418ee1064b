"""What all screens share: tabs, the row of keys, help, jumping, the palette, and leaving."""

from collections import Counter

import pytest
from textual.events import MouseDown
from textual.widgets import Footer, HelpPanel, OptionList
from textual.widgets._footer import FooterKey
from textual.widgets._toast import Toast

from rbp_engine.run.files.layout import read_json, write_json
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.dialogs import Confirm, ConfirmLeaving


@pytest.fixture
def app(home, end_run, monkeypatch):
    """A dashboard over two finished runs."""
    monkeypatch.chdir(home)
    for seed in (1, 2):
        end_run(home / "runs", f"digits-{seed}", f"seed={seed}", curve=[0.7, 0.8 + seed / 100])
    return Dashboard(home / "runs")


async def test_tabs_can_be_clicked(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: app.current_mode == "runs")
        for name in ("system", "presets", "monitor"):
            (bar,) = app.screen.query("TopBar")
            at = bar.shown.plain.index(name.capitalize())
            await pilot.click("TopBar", offset=(at + 1, 0))
            await until(pilot, lambda name=name: app.current_mode == name)


async def test_the_footer_has_the_keys_that_do_something_now_and_fits(app, until):
    def shown():
        return [key.description for key in app.screen.query(FooterKey)]

    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        for key in "12345":
            await pilot.press(key)
            await until(pilot, lambda: {"help", "leave"} <= set(shown()))
            await pilot.pause()
            footer = app.screen.query_one(Footer)
            assert footer.virtual_size.width <= footer.size.width, shown()
        await pilot.press("2", "slash")
        await until(pilot, lambda: "mark" not in shown())  # letters go into the filter now


async def test_a_press_on_a_message_that_has_just_gone_does_nothing(app, until):
    async with app.run_test(size=(120, 40), notifications=True) as pilot:
        app.notify("a message")
        await until(pilot, lambda: app.screen.query(Toast))
        (toast,) = app.screen.query(Toast)
        await until(pilot, lambda: toast.region.area)
        x, y = toast.region.x + 3, toast.region.y + 1
        await toast.remove()
        assert app.get_widget_at(x, y)[0] is toast  # until the next frame
        await app.on_event(MouseDown(None, x, y, 0, 0, 1, False, False, False, x, y))


async def test_help_lists_the_keys_beside_the_screen_page_by_page(app, until):
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: len(app.session.records) == 2)
        await pilot.press("f1")
        await until(pilot, lambda: any(panel.max_scroll_y for panel in app.screen.query(HelpPanel)))
        panel, pages = app.screen.query_one(HelpPanel), 1
        while not panel.is_vertical_scroll_end:
            await pilot.press("question_mark")
            pages += 1
        assert panel.scroll_y == panel.max_scroll_y and pages > 1
        await pilot.press("question_mark")
        await until(pilot, lambda: not app.screen.query(HelpPanel))
        await pilot.press("question_mark")
        await until(pilot, lambda: app.screen.query(HelpPanel))
        await pilot.press("escape")
        await until(pilot, lambda: not app.screen.query(HelpPanel))


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
        await pilot.press("ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, ConfirmLeaving))
        await pilot.press("ctrl+c")
        await until(pilot, lambda: not app.is_running)
