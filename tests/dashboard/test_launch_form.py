"""The launch form: the command that it shows is the one that it runs, and nothing is created before Enter."""

import shlex
import threading
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from textual.widgets import Input, Label, Static

from rbp_engine.errors import UserError
from rbp_engine.preset import load_preset, read_resolved
from rbp_engine.preset.find import bundled_folder
from rbp_engine.run import start
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.files.summary import read_summary
from rbp_engine.run.launch import launch
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.launch.typed_request import TypedRequest, typed_again, warnings
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.presets.presets_screen import PresetsScreen
from tests.run_files import change_summary

DIGITS = bundled_folder() / "digits.toml"


@pytest.fixture
def request_for(home, monkeypatch):
    """A launch request from typed words, for the default runs directory."""
    monkeypatch.chdir(home)

    def make(path=DIGITS, name="digits", **typed):
        return TypedRequest(path, name, home / "runs", **typed).request()

    return make


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({}, ""),
        ({"overrides": "T=6  method=bptt"}, "T=6 method=bptt"),
        ({"seeds": "7"}, "seed=7"),
        ({"seeds": "1, 2,3"}, "--seeds 1,2,3"),
        ({"device": "cpu", "run_name": "two words"}, "run.device=cpu 'run.name=two words'"),
        ({"tags": "a, b"}, """'run.tags=["a", "b"]'"""),
        ({"run_id": "mine-1"}, "--id mine-1"),
        ({"processes": "2"}, "--nproc 2"),
        ({"processes": "1", "gpus": "none"}, "--gpus none"),
    ],
)
def test_the_command_contains_the_typed_settings(request_for, typed, words):
    request = request_for(**typed)
    assert shlex.join(request.typed) == " ".join(f"rbp train digits {words} --detach".split())
    assert start.check(request)


def test_a_preset_not_found_by_name_and_another_runs_directory_are_given_by_path(home, request_for):
    path = home / "elsewhere" / "digits.toml"
    path.parent.mkdir()
    path.write_text("[train]\nepochs = 1\n")
    request = TypedRequest(path, "digits", home / "other runs").request()
    assert shlex.join(request.typed) == f"rbp train elsewhere/digits.toml --runs-dir '{home}/other runs' --detach"


@pytest.mark.parametrize(
    ("typed", "reason"),
    [
        ({"overrides": "lrr=1"}, "unknown key"),
        ({"overrides": "epochs='3"}, "a quote is not closed"),
        ({"overrides": "data=cifar10"}, "the data set 'cifar10' is not here"),
        ({"seeds": "1,x"}, "different whole numbers"),
        ({"seeds": "1,2", "overrides": "seed=3"}, "give it in one place"),
        ({"processes": "two"}, "processes: expected a number"),
    ],
)
def test_a_launch_is_refused_with_the_reason_and_nothing_is_created(request_for, home, typed, reason):
    with pytest.raises(UserError, match=reason):
        start.start_runs(request_for(**typed))
    assert not (home / "runs").exists()


def test_warnings_name_the_gradient_scale_and_completed_seeds(request_for, home):
    request = request_for(overrides="T=6", seeds="1,2")
    run = launch.create(load_preset("digits", ["T=6", "seed=2"]), home / "runs")
    change_summary(run, status="completed")
    scaled, done = warnings(request, start.check(request), list_runs(home / "runs"))
    assert scaled == "T=6: the rate gradient is scaled by 1/6 (loss_scale)"
    assert done == f"seed 2 is completed already: {run.id[-4:]}"
    assert warnings(request_for(), start.check(request_for()), []) == []


@pytest.fixture
def form_of_digits(dashboard, until, home, monkeypatch):
    """Open the dashboard at the form that launches `digits`."""
    monkeypatch.chdir(home)

    @asynccontextmanager
    async def opened():
        async with dashboard.run_test(size=(80, 24)) as pilot:
            await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen) and dashboard.screen.presets.entries)
            dashboard.screen.choose("digits")
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(dashboard.screen, LaunchForm))
            yield pilot, dashboard.screen

    return opened


def opened(app):
    return RunDirectory(app.session.runs / app.session.opened)


def verdict(form):
    return str(form.query_one("#verdict", Static).content)


def offered(form):
    return "\n".join(map(str, form.query_one("#offered", Static).content.renderables))


async def test_tab_completes_names_and_values_and_then_moves_on(dashboard, until, form_of_digits):
    async with form_of_digits() as (pilot, form):
        await pilot.press(*"neuron.re", "tab", *"h", "tab")
        assert form.query_one("#overrides", Input).value == "neuron.reset=hard"
        assert "After a spike" in offered(form)
        await pilot.press("tab", *"1,2")
        await until(pilot, lambda: verdict(form) == "rbp train digits neuron.reset=hard --seeds 1,2 --detach")
        await pilot.press("ctrl+y", "escape")
        assert dashboard.clipboard == "rbp train digits neuron.reset=hard --seeds 1,2 --detach"
        await until(pilot, lambda: isinstance(dashboard.screen, PresetsScreen))
    assert not dashboard.session.runs.exists()


async def test_settings_are_checked_when_typing_pauses_not_at_every_key(until, form_of_digits, monkeypatch):
    checked = []
    check = start.check

    def noted(request):
        checked.append((request.overrides, threading.current_thread() is threading.main_thread()))
        return check(request)

    monkeypatch.setattr(start, "check", noted)
    async with form_of_digits() as (pilot, form):
        await pilot.press(*"epochs=never")
        await until(pilot, lambda: checked and checked[-1][0] == ("epochs=never",))
        await until(pilot, lambda: "train.epochs" in verdict(form))
    assert len(checked) < len("epochs=never")
    assert not any(on_main_thread for _, on_main_thread in checked)


async def test_several_seeds_are_several_runs_and_the_first_opens_in_the_monitor(dashboard, until, form_of_digits):
    async with form_of_digits() as (pilot, form):
        form.query_one("#overrides", Input).value = "T=1 epochs=400 batch=256"
        form.query_one("#seeds", Input).value = "4,5"
        await pilot.press("enter", "enter")
        await until(pilot, lambda: isinstance(dashboard.screen, MonitorScreen))
        runs = [RunDirectory(path) for path in sorted(dashboard.session.runs.iterdir())]
        assert sorted(read_summary(run).seed for run in runs) == [4, 5]
        assert read_summary(opened(dashboard)).seed == 4
        assert len({read_summary(run).experiment for run in runs}) == 1
        # On few cores the runs have to take turns: the others wait for a slot.
        await until(pilot, lambda: read_summary(opened(dashboard)).step > 0)
        assert {judge(run).status for run in runs} <= {"running", "starting", "queued"}


async def test_values_typed_with_commas_are_completed_and_launch_a_run_for_each_of_them_and_each_seed(
    dashboard, until, form_of_digits, monkeypatch
):
    monkeypatch.setattr(start, "ensure_dispatcher", lambda: None)  # nothing is to be trained
    async with form_of_digits() as (pilot, form):
        form.query_one("#seeds", Input).value = "4,5"
        await pilot.press(*"meth", "tab", *"b", "tab", *",rate_m")
        await until(pilot, lambda: "rbp sweep digits method=bptt,rate_m --seeds 4,5 --detach" in verdict(form))
        assert not dashboard.session.runs.exists()
        await pilot.press("enter")
        await until(pilot, lambda: not isinstance(dashboard.screen, LaunchForm))
    made = [read_summary(RunDirectory(path)) for path in dashboard.session.runs.iterdir()]
    assert sorted((one.seed, one.method) for one in made) == [(4, "bptt"), (4, "rate_m"), (5, "bptt"), (5, "rate_m")]


@pytest.fixture
def earlier(home, monkeypatch):
    """A run as `rbp train` makes it, which has not been started; by default of `digits`."""
    monkeypatch.chdir(home)

    def make(*words, preset="digits", **resources):
        return launch.create(load_preset(preset, words), home / "runs", asked=Asked(resources=Resources(**resources)))

    return make


def again(run, **typed):
    """The form filled from a run, with some fields changed."""
    return replace(typed_again(run, run.path.parent), **typed)


def test_the_form_filled_from_a_run_has_its_settings_and_repeats_it_without_a_word_more(earlier):
    run = earlier(
        *["T=2", "optim.lr=0.05", "seed=7", "run.device=cpu", "run.name=trial", 'run.tags=["a", "b"]'], processes=2
    )
    typed = again(run)
    assert typed.overrides == "T=2 lr=0.05"
    fields = (typed.seeds, typed.device, typed.run_name, typed.tags, typed.processes, typed.gpus, typed.run_id)
    assert fields == ("7", "cpu", "trial", "a b", "2", "", "")
    assert shlex.join(typed.request().typed) == f"rbp train --like {run.id} --nproc 2 --detach"
    assert start.check(typed.request()).preset == read_resolved(run.preset_toml)


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ({"overrides": "T=6 lr=0.05"}, "T=6"),
        ({"overrides": "lr=0.05 method=bptt T=2"}, "method=bptt"),
        ({"overrides": "T=2 lr=0.05 T=3"}, "T=3"),
        ({"overrides": "T=6 T=2 lr=0.05"}, ""),
        ({"overrides": "T=2"}, "lr=0.1"),  # one taken away: the preset's value
        ({"seeds": "8"}, "seed=8"),
        ({"seeds": "7,8"}, "--seeds 7,8"),
        ({"device": "auto"}, "run.device=auto"),
        ({"device": ""}, ""),
        ({"run_name": "", "tags": ""}, "run.name= 'run.tags=[]'"),
        ({"processes": "2", "run_id": "other"}, "--id other --nproc 2"),
    ],
)
def test_only_what_is_changed_in_the_form_is_said_in_the_command(earlier, typed, words):
    run = earlier("T=2", "optim.lr=0.05", "seed=7", "run.device=cpu", "run.name=trial", 'run.tags=["a"]')
    request = again(run, **typed).request()
    assert shlex.join(request.typed) == " ".join(f"rbp train --like {run.id} {words} --detach".split())
    assert request.load()


def test_of_two_new_words_for_one_setting_none_is_guessed(earlier):
    run = earlier("lr=1.0", "epochs=8")
    for typed, message in {
        "lr=1.0 epochs=8lr=1.5 epochs=12": "epochs=8lr=1.5 and epochs=12 set the same: leave one of them out",
        "lr=1.0 epochs=8 lr=2 optim.lr=3": "lr=2 and optim.lr=3 set the same",
    }.items():
        with pytest.raises(UserError, match=message):
            again(run, overrides=typed).request()


def test_a_run_with_code_of_its_own_is_repeated_with_the_code_that_was_saved(earlier, home):
    net = home / "nets.py"
    net.write_text("class Net: ...\n")
    run = earlier("arch=nets.py:Net", "epochs=3")
    net.write_text("class Net: 'changed'\n")
    typed = again(run)
    assert typed.overrides == "arch=nets.py:Net epochs=3"
    assert start.check(typed.request()).experiment == read_summary(run).experiment
    assert start.check(again(run, overrides="epochs=3").request()).preset.model.name == "convnet"
    assert warnings(typed.request(), start.check(typed.request()), []) == []


def test_a_run_with_code_that_the_user_has_not_launched_is_refused_with_the_reason(earlier, home, monkeypatch):
    (home / "nets.py").write_text("class Net: ...\n")
    run = earlier("arch=nets.py:Net")
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "of another user"))
    reason = f"would execute code/nets.py, which you have not launched here; if you trust it: rbp train --like {run.id}"
    with pytest.raises(UserError, match=reason):
        again(run)


def test_a_run_whose_preset_is_gone_is_repeated_as_it_was(earlier, home):
    path = home / "mine.toml"
    path.write_text('extends = "digits"\n[train]\nepochs = 3\n')
    run = earlier("T=2", preset="mine.toml")
    assert again(run).overrides == "T=2"
    path.unlink()
    assert again(run).overrides == ""
    assert start.check(again(run).request()).preset == read_resolved(run.preset_toml)


@pytest.mark.parametrize("screen", ["2", "3"], ids=["Runs", "Monitor"])
async def test_c_opens_the_form_filled_from_the_run_and_launches_it_changed(dashboard, until, earlier, screen):
    run = earlier("T=2", "epochs=400", "batch=256")
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: dashboard.session.record_of(run.id) is not None)
        await pilot.press(screen)
        await until(pilot, lambda: "again" in {active.binding.action for active in bindings(dashboard)})
        await pilot.press("C")
        await until(pilot, lambda: isinstance(dashboard.screen, LaunchForm))
        form = dashboard.screen
        assert form.query_one("#overrides", Input).value == "batch=256 T=2 epochs=400 "
        await pilot.press(*"T=1")
        await until(pilot, lambda: verdict(form).endswith(f"rbp train --like {run.id} T=1 --detach"))
        if screen == "2":
            await pilot.press("escape")
            return
        await pilot.press("enter")
        await until(pilot, lambda: dashboard.session.opened not in (None, run.id))
        assert read_summary(opened(dashboard)).timesteps == 1


def bindings(app):
    return [active for active in app.screen.active_bindings.values() if active.enabled]


async def test_the_command_or_the_error_is_directly_below_the_settings_and_hints_are_no_values(until, form_of_digits):
    async with form_of_digits() as (pilot, form):
        await until(pilot, lambda: verdict(form))
        settings, below = form.query_one("#overrides", Input), form.query_one("#verdict", Static)
        assert below.region.y == settings.region.bottom
        fields = list(form.query(Input))
        assert all(field.placeholder.startswith("e.g. ") and not field.value for field in fields)
        assert len({field.region.y for field in fields}) == len(fields)
        assert "made for you when empty" in [str(hint.content) for hint in form.query(".hint").results(Label)]
        assert form.query_one(".keys").region.bottom < 24
