"""Dialogs are answered once, whatever is pressed and whatever covers them."""

from textual import events
from textual.screen import ModalScreen

from rbp_tui.dashboard.dialogs import Ask
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.launch.typed_request import TypedRequest
from rbp_tui.dashboard.presets.presets_screen import PresetsScreen
from rbp_tui.dashboard.textual_faults import Palette


async def test_two_quick_enters_end_one_dialog_and_not_the_screen_below(dashboard, until):
    answers = []
    async with dashboard.run_test() as pilot:
        below = ModalScreen()  # Enter means nothing there
        await dashboard.push_screen(below)
        await dashboard.push_screen(Ask("above?", "yes"), answers.append)
        await pilot.pause()
        for _ in range(2):  # as fast as a terminal sends them
            dashboard._driver.process_message(events.Key("enter", "\r"))
        await until(pilot, lambda: answers == ["yes"])
        await pilot.pause()
        assert answers == ["yes"] and dashboard.screen is below


async def test_a_dialog_that_ends_while_another_screen_covers_it_ends_when_it_is_seen_again(dashboard, until):
    answers = []
    async with dashboard.run_test() as pilot:
        dialog = Ask("covered?", "")
        await dashboard.push_screen(dialog, answers.append)
        await pilot.press("ctrl+p")
        await until(pilot, lambda: isinstance(dashboard.screen, Palette))
        dialog.dismiss("late")
        await pilot.pause()
        assert isinstance(dashboard.screen, Palette) and answers == []
        await pilot.press("escape")
        await until(pilot, lambda: answers == ["late"])
        assert isinstance(dashboard.screen, PresetsScreen)


async def test_escape_before_a_dialog_is_there_ends_it_as_soon_as_it_is(dashboard, until, home):
    async with dashboard.run_test() as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen) and dashboard.screen.presets.entries)
        entry = dashboard.screen.presets.entries[0]
        form = LaunchForm(TypedRequest(entry.path, entry.name, home / "runs"), dashboard.session)
        dashboard.push_screen(form)
        form.dismiss()
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen))
        await pilot.pause()


async def test_leaving_while_a_dialog_is_being_made_is_no_fault(dashboard, until):
    async with dashboard.run_test() as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen) and dashboard.screen.presets.entries)
        for key in ("enter", "ctrl+q"):
            dashboard._driver.process_message(events.Key(key, None))
        await until(pilot, lambda: not dashboard.is_running)
    assert not dashboard.return_code
