"""The cost in the launch form, really measured: what it says, and that it is given up where nobody waits for it."""

import asyncio
import tempfile
import time
from functools import partial

import psutil
import pytest
from textual.widgets import Input

from rbp_engine.bench.cost import predict_cost
from rbp_engine.preset.search import bundled_folder
from rbp_tui.dashboard.launch import cost
from rbp_tui.dashboard.launch.cost import LaunchCost
from rbp_tui.dashboard.launch.form import LaunchForm

DIGITS = bundled_folder() / "digits.toml"


@pytest.fixture(autouse=True)
def folder(home, monkeypatch):
    """Where measurements have their files; each trains for a moment only."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(cost, "predict_cost", partial(predict_cost, seconds=0.2))
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    (home / "tmp").mkdir()
    return home / "tmp"


def said(form):
    return str(form.query_one(LaunchCost).content)


def measurements():
    """The processes that measure."""
    found = []
    for child in psutil.Process().children():
        try:
            if "rbp_engine.bench.measure_cost" in child.cmdline():
                found.append(child.pid)
        except psutil.Error:  # it has just ended
            continue
    return found


async def ended(folder):
    """Nothing measures any more and no file of it is left; it looks five times a second whether it is still wanted."""
    deadline = time.monotonic() + 10.0
    while measurements() or list(folder.iterdir()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def open_form(app, path=DIGITS, **typed):
    form = LaunchForm(path, path.stem, app.session)
    await app.push_screen(form)
    for name, value in ({"device": "cpu"} | typed).items():
        form.query_one(f"#{name}", Input).value = value
    return form


@pytest.mark.asyncio
async def test_memory_and_time_are_said_before_anything_is_launched(dashboard, until, folder):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard, overrides="epochs=3", processes="2")
        await pilot.pause()
        assert not form.query_one(LaunchCost).display
        await pilot.press("ctrl+o")
        assert said(form).startswith("measuring a few steps of digits… ")
        # One goes on typing meanwhile, and what does not change the cost does not end it.
        await pilot.press("tab", *"1,2")
        assert form.query_one("#seeds", Input).value == "1,2"
        await until(pilot, lambda: "measuring" not in said(form))
        title, memory, epoch, in_all, processes = said(form).split("\n")
        assert title == "digits · convnet · rate_M · T=4 · B=64 · cpu"
        assert memory.startswith("memory ") and "   step " in memory
        assert epoch.startswith("epoch ") and "23 steps" in epoch
        assert in_all.startswith("in all ") and "for 3 epochs   measured " in in_all
        assert processes == "for one process with the whole batch, which 2 would share"
        await pilot.pause()
        cost, keys = form.query_one(LaunchCost), form.query_one(".keys")
        assert cost.region.bottom <= keys.region.y and keys.region.bottom < 24
        assert "Measure the cost" in [command.title for command in dashboard.get_system_commands(form)]
    assert not dashboard.session.runs.exists() and not list(folder.iterdir())


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["space", "escape", "ctrl+q"], ids=["another setting", "closed", "left"])
async def test_a_measurement_is_given_up_when_its_settings_or_the_form_are_gone(dashboard, until, folder, key):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard)
        await pilot.press("ctrl+o")
        await until(pilot, measurements)
        await pilot.press(key)
        if key == "space":
            assert said(form) == "" and not form.query_one(LaunchCost).display
            await until(pilot, lambda: not measurements())
            assert said(form) == ""
    await ended(folder)


@pytest.mark.asyncio
async def test_asked_again_it_begins_anew(dashboard, until):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard)
        await pilot.press("ctrl+o")
        await until(pilot, measurements)
        first = measurements()
        await pilot.press("ctrl+o")
        await until(pilot, lambda: measurements() and not set(first) & set(measurements()))
        await until(pilot, lambda: "memory" in said(form))
        assert not measurements()


@pytest.mark.asyncio
async def test_a_cost_that_is_known_goes_with_its_settings(dashboard, until):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "memory" in said(form))
        await pilot.press(*"T=2")
        assert said(form) == ""


@pytest.mark.asyncio
async def test_what_cannot_be_measured_says_why(dashboard, until, home):
    (home / "nets.py").write_text("def net(**_):\n    raise OSError('no weights')\n")
    (home / "mine.toml").write_text('extends = "digits"\n[model]\nname = "nets.py:net"\n')
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard, home / "mine.toml")
        await pilot.press("ctrl+o")
        await until(pilot, lambda: said(form) == "nets.py line 2: OSError: no weights")
        await pilot.press(*"lrr=1", "ctrl+o")
        await until(pilot, lambda: "unknown key" in said(form))
        form.query_one("#overrides", Input).value = "epochs='3"
        await pilot.press("ctrl+o")
        await until(pilot, lambda: said(form) == "settings: a quote is not closed")
