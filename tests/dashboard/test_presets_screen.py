"""The Presets screen and its editor, on real files."""

import os
import re
import shlex
import stat
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.widgets import Checkbox, Input, OptionList, Static, Tab, Tabs

from rbp_engine.preset import load_preset
from rbp_engine.preset.find import bundled_folder
from rbp_engine.run.files.summary import read_summary
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.dialogs import Choice
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.presets.drafts import read_draft
from rbp_tui.dashboard.presets.editor import EditorScreen
from rbp_tui.dashboard.presets.name_dialog import NamePreset
from rbp_tui.dashboard.presets.presets_screen import PresetsScreen
from tests.run_files import change_identity

MINE = """\
# What I try today.
extends = "digits"   # the small one

[optim]
lr = 0.05   # half of it
"""


@pytest.fixture
def mine(home, monkeypatch):
    """A preset of the user's own, in the working directory."""
    folder = home / "work"
    (folder / "presets").mkdir(parents=True)
    monkeypatch.chdir(folder)
    path = folder / "presets" / "mine.toml"
    path.write_text(MINE)
    return path


@pytest.fixture
def completed(home, end_run):
    """A run of this folder that has completed, according to its files."""

    def make(preset, *words, top1=0.9, **more):
        reached = {"epoch": 20, "epochs": 20, "trained_s": 40.0, **more}
        return end_run(home / "runs", None, *words, preset=preset, curve=(top1,), **reached)

    return make


def text_of(app, name):
    """The text of a Static as plain lines of 100 columns."""
    with app.console.capture() as captured:
        app.console.print(app.screen.query_one(name, Static).content, width=100)
    return "\n".join(line.rstrip() for line in re.sub(r"\x1b\[[0-9;]*m", "", captured.get()).splitlines())


def label(app, name):
    return app.screen.query_one(f"#{name}", Tab).label.plain


def options(app):
    return [str(option.prompt) for option in app.screen.query_one("#presets", OptionList).options]


async def show(app, pilot, until, name):
    await pilot.press("1")
    await until(pilot, lambda: isinstance(app.screen, PresetsScreen) and app.screen.presets.entries)
    app.screen.choose(name)
    await until(pilot, lambda: app.screen.loaded is not None and app.screen.loaded.name == name)


async def edit(app, pilot, until, name):
    await show(app, pilot, until, name)
    await pilot.press("e")
    await until(pilot, lambda: isinstance(app.screen, EditorScreen))
    return app.screen


@pytest.fixture
def shown(dashboard, mine, until):
    """Open the dashboard at a preset."""

    @asynccontextmanager
    async def open_at(name, size=(80, 24)):
        async with dashboard.run_test(size=size) as pilot:
            await show(dashboard, pilot, until, name)
            yield pilot

    return open_at


@pytest.fixture
def edited(dashboard, shown, until):
    """Open the dashboard at a preset in the editor."""

    @asynccontextmanager
    async def open_at(name):
        async with shown(name) as pilot:
            yield pilot, await edit(dashboard, pilot, until, name)

    return open_at


async def answer(app, pilot, until, dialog, *keys):
    await until(pilot, lambda: isinstance(app.screen, dialog))
    await pilot.press(*keys)
    await until(pilot, lambda: not isinstance(app.screen, dialog))


async def give_name(app, pilot, until, name, *ticks):
    await until(pilot, lambda: isinstance(app.screen, NamePreset))
    app.screen.query_one("#name", Input).value = name
    for box in ticks:
        app.screen.query_one(box).toggle()
    await pilot.pause()
    await pilot.press("enter")
    await until(pilot, lambda: not isinstance(app.screen, NamePreset))


async def test_presets_are_grouped_by_data_set_and_the_users_own_show_their_problems(shown, dashboard, mine):
    mine.with_name("broken.toml").write_text('[optim]\nlr = -1\nmomentun = 0.9\n[data]\nname = "digits"\n')
    async with shown("digits"):
        listed = options(dashboard)
        assert listed[:5] == ["Mine", "   broken  2 problems", " ✓ mine", "\nData here", " ✓ digits"]
        assert listed.index(" ✓ digits") < listed.index("\nCIFAR-10") < listed.index("   cifar10-resnet18")
        assert listed.index("   cifar10-resnet18") < listed.index("\nCIFAR-100")


async def test_presets_without_data_are_dim_and_a_line_says_so(shown, dashboard, until):
    async with shown("digits") as pilot:

        def style_of(name):
            return str(dashboard.screen.presets.get_option(name).prompt.style)

        assert style_of("digits") == "" and style_of("cifar10-vgg11") == style_of("cifar10-vgg13") == "dim"
        legend = dashboard.screen.query_one("#legend", Static)
        assert legend.display and str(legend.content) == "dim: data not here, rbp data add"
        await pilot.press("slash", *"8x8")
        await until(pilot, lambda: not legend.display)


async def test_the_filter_narrows_the_list_and_escape_removes_it(shown, dashboard, until):
    async with shown("digits") as pilot:
        everything = options(dashboard)
        await pilot.press("slash", *"resnet cifar-100")
        await until(pilot, lambda: len(options(dashboard)) < len(everything))
        names = [f"   cifar100-{name}" for name in ("max_resnet18", "resnet18", "resnet19")]
        assert options(dashboard) == ["CIFAR-100", *names]
        await pilot.press("enter", "down", "down")
        await until(pilot, lambda: dashboard.screen.current.name == "cifar100-resnet19")
        await pilot.press("escape")
        await until(pilot, lambda: options(dashboard) == everything)
        assert dashboard.screen.current.name == "cifar100-resnet19"


async def test_runs_of_a_preset_give_its_accuracy_and_an_estimate(shown, dashboard, until, completed):
    completed("digits", "seed=1", top1=0.95)
    completed("digits", "seed=2", top1=0.91)
    completed("digits", "seed=2", top1=0.97)  # a seed that was trained twice counts once, as in a report
    completed("digits", "T=2")
    change_identity(completed("digits", "seed=1", top1=0.5, mem_peak=2**29), resources={"processes": 2})
    async with shown("digits", size=(160, 48)) as pilot:
        await until(pilot, lambda: "2 seeds" in text_of(dashboard, "#summary"))
        summary = text_of(dashboard, "#summary")
        yours = (
            "yours 96.00 % ± 1.41, best 96.00, 2 seeds, 1 of the same seeds left out, 1 by several processes left out"
        )
        assert yours in " ".join(summary.split())
        assert "~1.0 GiB · 2.0 s an epoch · 40s of training steps" in summary


async def test_accuracies_beside_the_papers_are_those_of_the_test_set(shown, dashboard, until, completed, mine):
    mine.write_text(f"{MINE}[train]\nvalidation_split = 0.1\n")
    completed("mine", top1=0.9, test={"last": 0.8, "best": 0.81})
    async with shown("mine", size=(160, 48)) as pilot:
        await until(pilot, lambda: "yours    80.00 %, best 81.00, 1 seed" in text_of(dashboard, "#summary"))


async def test_what_is_known_of_a_preset_its_difference_to_the_parent_and_every_action(shown, dashboard, until):
    async with shown("cifar10-resnet18") as pilot:
        summary = text_of(dashboard, "#summary")
        assert "\n         rbp data fetch cifar10\n         rbp data add cifar10 DIR\n" in summary
        assert "paper    95.61 %\n" in summary and "takes    rbp cost cifar10-resnet18 predicts it\n" in summary
        await show(dashboard, pilot, until, "mine")
        titles = {command.title.casefold() for command in dashboard.get_system_commands(dashboard.screen)}
        assert {binding.description.casefold() for binding in PresetsScreen.BINDINGS} <= titles
        await pilot.press("v", "v")
        assert dashboard.screen.query_one(Tabs).active == "diff" and label(dashboard, "diff") == "Diff to digits"
        assert text_of(dashboard, "#differences").splitlines()[1].split() == ["optim.lr", "0.05", "0.1", "result"]


async def test_digits_switch_screens_in_the_read_only_toml_but_not_in_the_editor(shown, dashboard, until):
    async with shown("mine") as pilot:
        dashboard.screen.query_one("#toml_pane").focus()
        await pilot.press("2")
        await until(pilot, lambda: dashboard.current_mode == "runs")
        editor = await edit(dashboard, pilot, until, "mine")
        await pilot.press("2")
        assert dashboard.current_mode == "presets"
        assert editor.area.text == "2" + MINE


async def test_while_typing_a_problem_is_shown_at_its_line_and_a_setting_is_explained(edited, dashboard, until):
    async with edited("mine") as (pilot, editor):
        editor.area.move_cursor((4, 5))
        await pilot.press("minus")
        await until(pilot, lambda: editor.problems)
        assert editor.area.problem_lines == {5}
        problems = editor.query_one("#problems", OptionList)
        assert str(problems.options[0].prompt) == "line 5  optim.lr: must be more than 0.0, got the number -0.05"
        for keys in (("tab", "enter"), ("f8",)):
            editor.area.move_cursor((0, 0))
            await pilot.press(*keys)
            assert editor.area.has_focus and editor.area.cursor_location == (4, 0)
        await pilot.press("ctrl+z")
        await until(pilot, lambda: not editor.problems)
        assert not editor.area.problem_lines and not problems.display
        editor.area.move_cursor(editor.area.document.end)
        await pilot.press(*"momentum = ")
        assert "Momentum; used by sgd only." in text_of(dashboard, "#field")


async def test_saving_writes_the_text_exactly_as_typed(edited, dashboard, mine, until):
    async with edited("mine") as (pilot, editor):
        editor.area.move_cursor((4, 5))
        await pilot.press("delete", "1", "ctrl+s")
        await until(pilot, lambda: not editor.unsaved)
        assert mine.read_text() == MINE.replace("lr = 0.05", "lr = 1.05")
        assert read_draft(mine) is None
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen))
        assert dashboard.screen.loaded.preset.optim.lr == 1.05


async def test_editing_a_bundled_preset_saves_a_copy(edited, dashboard, mine, until):
    bundled = bundled_folder() / "digits.toml"
    before = bundled.read_text()
    async with edited("digits") as (pilot, editor):
        await pilot.press("number_sign", "ctrl+s")
        await until(pilot, lambda: isinstance(dashboard.screen, NamePreset))
        dashboard.screen.query_one("#name", Input).value = "mine"
        await pilot.press("enter")
        await pilot.pause()
        assert "exists already" in text_of(dashboard, "#verdict")
        await give_name(dashboard, pilot, until, "other")
        await until(pilot, lambda: not editor.unsaved)
        assert mine.with_name("other.toml").read_text() == "#" + before
        assert (bundled.read_text(), mine.read_text(), read_draft(bundled)) == (before, MINE, None)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen))
        assert dashboard.screen.current.name == "other"


async def test_a_file_changed_by_another_program_is_read_again_or_asked_about(edited, dashboard, mine, until):
    async with edited("mine") as (pilot, editor):
        mine.write_text(MINE + "momentum = 0.5\n")
        await until(pilot, lambda: "momentum" in editor.area.text)
        await pilot.press("number_sign")
        mine.write_text(MINE)
        await until(pilot, lambda: "has changed meanwhile" in text_of(dashboard, "#editing"))
        await pilot.press("ctrl+s")
        await answer(dashboard, pilot, until, Choice, "escape")
        assert mine.read_text() == MINE
        await pilot.press("ctrl+s")
        await answer(dashboard, pilot, until, Choice, "enter")
        await until(pilot, lambda: not editor.unsaved)
        assert mine.read_text() == f"#{MINE}momentum = 0.5\n"


async def test_a_file_that_can_no_longer_be_edited_here_empties_no_text(edited, dashboard, mine, until):
    async with edited("mine") as (pilot, editor):
        for damaged in (MINE.encode() + b"# \xe4\n", MINE.encode() + b"# mixed\r\n"):
            mine.write_bytes(damaged)
            await until(pilot, lambda: "has changed meanwhile" in text_of(dashboard, "#editing"))
            await pilot.press("ctrl+s")
            await answer(dashboard, pilot, until, Choice, "escape")
            assert (editor.area.text, mine.read_bytes()) == (MINE, damaged)


async def test_unsaved_text_is_asked_about_and_kept_until_discarded(edited, dashboard, mine, until):
    async with edited("mine") as (pilot, _):
        await pilot.press("number_sign", "escape")
        await answer(dashboard, pilot, until, Choice, "down", "enter")  # keep it
        await until(pilot, lambda: " ✓ mine  unsaved" in options(dashboard))
        assert mine.read_text() == MINE
        await pilot.press("e")
        await answer(dashboard, pilot, until, Choice, "enter")  # continue with it
        await until(pilot, lambda: isinstance(dashboard.screen, EditorScreen))
        assert dashboard.screen.area.text == "#" + MINE
        await pilot.press("escape")
        await answer(dashboard, pilot, until, Choice, "down", "down", "enter")  # throw it away
        await until(pilot, lambda: " ✓ mine" in options(dashboard))
        assert (mine.read_text(), read_draft(mine)) == (MINE, None)


async def test_the_users_editor_is_used_and_unsaved_text_survives_a_kill(home, mine, until, monkeypatch, open_terminal):
    script = home / "editor"
    script.write_text('#!/bin/sh\necho "momentum = 2.0" >> "$1"\n')
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("EDITOR", shlex.quote(str(script)))
    terminal = open_terminal()

    def press(keys, shown):
        terminal.output = b""
        os.write(terminal.master, keys)
        terminal.read_until(lambda: shown in terminal.output)

    terminal.read_until(lambda: b"digits" in terminal.output)
    press(b"/", b"filter:")
    press(b"mine", b"What I try")
    press(b"\r", b"launch")
    press(b"e", b"next problem")
    press(b"\x0f", b"1 problem")  # ctrl+o: $EDITOR
    assert mine.read_text() == MINE + "momentum = 2.0\n"
    os.write(terminal.master, b"\x1b[1;5H# half a thought")  # at the start of the text
    terminal.read_until(lambda: (draft := read_draft(mine)) and "thought" in draft.text)
    terminal.process.kill()
    terminal.process.wait()

    app = Dashboard(home / "runs")
    async with app.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(app.screen, PresetsScreen) and app.screen.presets.entries)
        app.screen.choose("mine")
        await pilot.pause()
        await pilot.press("e")
        await answer(app, pilot, until, Choice, "enter")
        await until(pilot, lambda: isinstance(app.screen, EditorScreen))
        assert app.screen.area.text == f"# half a thought{MINE}momentum = 2.0\n"


async def test_a_file_whose_line_ends_the_editor_would_change_is_not_opened(shown, dashboard, mine, until):
    mine.write_bytes(MINE.replace("\n", "\r\n", 1).encode())
    async with shown("mine") as pilot:
        await pilot.press("e")
        await until(pilot, lambda: any("line ends" in note.message for note in dashboard._notifications))
        assert isinstance(dashboard.screen, PresetsScreen)


async def test_a_clone_keeps_comments_and_a_new_preset_extends_the_selected_one(shown, dashboard, mine, until):
    async with shown("mine") as pilot:
        await pilot.press("C")
        await give_name(dashboard, pilot, until, "twin", "#everywhere")
        await until(pilot, lambda: isinstance(dashboard.screen, EditorScreen))
        assert (Path(os.environ["RBP_CONFIG"]) / "presets" / "twin.toml").read_text() == MINE
        await pilot.press("escape")
        await show(dashboard, pilot, until, "digits")
        await pilot.press("ctrl+n")
        await until(pilot, lambda: isinstance(dashboard.screen, NamePreset))
        boxes = [box.render().plain.strip() for box in dashboard.screen.query(Checkbox)]
        assert boxes == ["[✓] extends digits", "[ ] for use in every folder"]
        assert dashboard.screen.query_one(Input).has_focus
        await give_name(dashboard, pilot, until, "fresh")
        await until(pilot, lambda: isinstance(dashboard.screen, EditorScreen))
        assert 'extends = "digits"' in mine.with_name("fresh.toml").read_text()
        area = dashboard.screen.area
        assert area.cursor_at_end_of_text  # where one goes on
        await pilot.press("ctrl+home")
        assert area.cursor_location == (0, 0)
        await pilot.press("ctrl+end")
        assert area.cursor_at_end_of_text
        await pilot.press("number_sign", "escape")
        await answer(dashboard, pilot, until, Choice, "down", "down", "enter")  # throw it away
        await until(pilot, lambda: not mine.with_name("fresh.toml").exists())


async def test_a_preset_with_a_broken_parent_can_still_be_edited(shown, dashboard, mine, until):
    mine.with_name("base.toml").write_text("[optim]\nlr = -1\n")
    mine.write_text('extends = "base"\n[optim]\nlr = 0.1\n')
    async with shown("mine", size=(200, 60)) as pilot:
        assert "must be more than 0" in text_of(dashboard, "#differences")
        await edit(dashboard, pilot, until, "mine")
        assert "must be more than 0" in text_of(dashboard, "#changes")


async def test_the_settings_of_a_run_can_become_a_preset(dashboard, mine, until, completed, home):
    (home / "work" / "nets.py").write_text("class MyNet: ...\n")
    run = completed("mine", "model.name=nets.py:MyNet", "T=2")
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: dashboard.session.record_of(run.id) is not None)
        dashboard.preset_from_run(run.id)
        await give_name(dashboard, pilot, until, "again")
        await until(pilot, lambda: isinstance(dashboard.screen, EditorScreen))
        assert dashboard.current_mode == "presets"
    again = load_preset("again")
    assert (again.preset.method.timesteps, again.preset.optim.lr) == (2, 0.05)
    assert again.experiment == read_summary(run).experiment
    assert again.own_code["model.name"].path.resolve() == (run.code / "nets.py").resolve()


async def test_a_broken_preset_is_not_launched(dashboard, mine, until):
    mine.write_text("[optim]\nlr = -1\n")
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen) and dashboard.screen.presets.entries)
        dashboard.screen.choose("mine")
        await pilot.press("enter")
        await until(pilot, lambda: any("cannot be trained" in note.message for note in dashboard._notifications))
        assert not isinstance(dashboard.screen, LaunchForm)
