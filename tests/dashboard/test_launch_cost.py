"""The cost in the launch form, really measured: what it shows, and that it ends once nobody needs it."""

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
from rbp_tui.dashboard.launch.request import TypedRequest

DIGITS = bundled_folder() / "digits.toml"


@pytest.fixture(autouse=True)
def folder(home, monkeypatch):
    """The folder for files of the measurements, which train only for a moment."""
    monkeypatch.chdir(home)
    monkeypatch.setattr(cost, "predict_cost", partial(predict_cost, seconds=0.2))
    monkeypatch.setattr(tempfile, "tempdir", str(home / "tmp"))
    (home / "tmp").mkdir()
    return home / "tmp"


def said(form):
    return str(form.query_one(LaunchCost).content)


def measurements():
    """The pids of the processes that measure."""
    found = []
    for child in psutil.Process().children():
        try:
            if "rbp_engine.bench.measure_cost" in child.cmdline():
                found.append(child.pid)
        except psutil.Error:  # it has just ended
            continue
    return found


async def ended(folder):
    """Wait until no measurement runs and no file of it is left; it asks five times a second whether to go on."""
    deadline = time.monotonic() + 10.0
    while measurements() or list(folder.iterdir()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def open_form(app, path=DIGITS, **typed):
    form = LaunchForm(TypedRequest(path, path.stem, app.session.runs), app.session)
    await app.push_screen(form)
    for name, value in ({"device": "cpu"} | typed).items():
        form.query_one(f"#{name}", Input).value = value
    return form


@pytest.mark.asyncio
async def test_memory_and_time_are_shown_before_anything_is_launched(dashboard, until, folder):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard, overrides="epochs=3", processes="2")
        await pilot.pause()
        assert not form.query_one(LaunchCost).display
        await pilot.press("ctrl+o")
        assert said(form).startswith("measuring a few steps of digits… ")
        # The user can keep typing, and changes that do not affect the cost do not end the measurement.
        await pilot.press("tab", *"1,2")
        assert form.query_one("#seeds", Input).value == "1,2"
        await until(pilot, lambda: "measuring" not in said(form))
        title, memory, epoch, in_all, processes = said(form).split("\n")
        assert title == "digits · convnet · rate_M · T=4 · B=64 · cpu"
        assert memory.startswith("memory ") and "   step " in memory
        assert epoch.startswith("epoch ") and "23 steps" in epoch
        assert in_all.startswith("in all ") and "for 3 epochs   measured " in in_all
        assert processes == "for one process with the whole batch, which 2 would share"
        cost, keys = form.query_one(LaunchCost), form.query_one(".keys")
        await until(pilot, lambda: cost.region.bottom <= keys.region.y and keys.region.bottom < 24)
        assert "Measure the cost" in [command.title for command in dashboard.get_system_commands(form)]
    assert not dashboard.session.runs.exists() and not list(folder.iterdir())


@pytest.mark.asyncio
@pytest.mark.parametrize("key", ["space", "escape", "ctrl+q"], ids=["another setting", "closed", "left"])
async def test_a_measurement_ends_when_its_settings_change_or_the_form_closes(dashboard, until, folder, key):
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
async def test_asking_again_restarts_the_measurement(dashboard, until):
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
async def test_a_measured_cost_disappears_when_its_settings_change(dashboard, until):
    async with dashboard.run_test(size=(80, 24)) as pilot:
        form = await open_form(dashboard)
        await pilot.press("ctrl+o")
        await until(pilot, lambda: "memory" in said(form))
        await pilot.press(*"T=2")
        assert said(form) == ""


@pytest.mark.asyncio
async def test_a_failed_measurement_shows_the_reason(dashboard, until, home):
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
