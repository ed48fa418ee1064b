"""Keys that users choose."""

import pytest
from textual.binding import Binding

from rbp_tui.dashboard import dialogs
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.charts import curve_chart
from rbp_tui.dashboard.keys import keys_file, names_of_keys, read_keys
from rbp_tui.dashboard.launch import form


@pytest.fixture
def keys_toml(home):
    def write(text):
        keys_file().parent.mkdir(parents=True, exist_ok=True)
        keys_file().write_text(text)

    return write


def test_without_a_file_the_keys_are_unchanged(home):
    assert read_keys() == ({}, "")


def test_names_can_be_dotted_or_quoted(keys_toml):
    keys_toml('[keys]\nscreen.runs = "f2"\n"help" = "f1"\n')
    assert read_keys() == ({"screen.runs": "f2", "help": "f1"}, "")


def test_problems_are_reported_with_their_line_and_the_other_keys_work(keys_toml):
    keys_toml('colour = "red"\n[keys]\nscreen.rusn = "f2"\nhelp = 3\nleave = "Q"\n')
    keys, problem = read_keys()
    assert keys == {"leave": "Q"}
    assert "3 problems" in problem
    assert "colour (line 1)" in problem
    assert "screen.rusn (line 3)" in problem and "Did you mean 'screen.runs'" in problem
    assert "help (line 4)" in problem and "got the integer 3" in problem


@pytest.mark.parametrize("text", ["[keys", "keys = 3", "[keys]\nhelp = ''", "\x00", "[[keys]]\nhelp = 'x'"])
def test_a_broken_file_is_one_problem_and_changes_no_key(keys_toml, text):
    keys_toml(text)
    keys, problem = read_keys()
    assert keys == {}
    assert str(keys_file()) in problem


def test_every_key_of_the_dashboard_has_a_name(home):
    others = (one for module in (dialogs, form, curve_chart) for one in vars(module).values())
    nameless = [
        (screen.__name__, binding.key)
        for screen in (Dashboard, *Dashboard.MODE_SCREENS.values(), *others)
        if isinstance(screen, type) and screen.__module__.startswith("rbp_tui.")
        for binding in screen.__dict__.get("BINDINGS", ())
        if not isinstance(binding, Binding) or not binding.id
    ]
    assert nameless == []
    assert {"screen.presets", "help", "leave"} <= names_of_keys()


async def test_a_remapped_key_replaces_the_old_one(keys_toml, dashboard):
    keys_toml('[keys]\nscreen.system = "f5"\n')
    async with dashboard.run_test() as pilot:
        await pilot.press("5")
        await pilot.pause()
        assert dashboard.current_mode == "presets"
        await pilot.press("f5")
        await pilot.pause()
        assert dashboard.current_mode == "system"


async def test_a_broken_file_is_reported_and_the_dashboard_starts(keys_toml, dashboard):
    keys_toml("[keys")
    async with dashboard.run_test() as pilot:
        await pilot.pause()
        assert any("is not TOML" in note.message for note in dashboard._notifications)


async def test_two_actions_on_one_key_are_reported_once(keys_toml, dashboard):
    keys_toml('[keys]\nscreen.system = "f5"\nscreen.runs = "f5"\n')
    async with dashboard.run_test() as pilot:
        for _ in range(3):
            await pilot.press("f5")
        await pilot.pause()
        assert len([note for note in dashboard._notifications if "same key" in note.message]) == 1
