"""A sweep in the dashboard: from the launch form, and as a table that fills."""

import shlex
import shutil

import pytest
from textual.widgets import Input, Static

from rbp_engine.errors import UserError
from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.start import run_id_of
from rbp_engine.preset.find import bundled_folder
from rbp_engine.run import start
from rbp_engine.run.files.layout import read_json, write_json
from rbp_engine.run.files.run_json import read_run_json
from rbp_engine.run.launch import launch
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.store.store import list_runs
from rbp_tui.dashboard.launch.form import LaunchForm
from rbp_tui.dashboard.launch.sweep import describe_sweep, is_sweep, typed_sweep
from rbp_tui.dashboard.launch.typed_request import TypedRequest
from rbp_tui.dashboard.monitor.monitor_screen import MonitorScreen
from rbp_tui.dashboard.runs.runs_screen import RunsScreen
from rbp_tui.dashboard.screen_base import TopBar
from rbp_tui.dashboard.sweep.sweep_screen import SweepScreen
from rbp_tui.dashboard.sweep.table import SweepTable

DIGITS, SWEEP = bundled_folder() / "digits.toml", bundled_folder() / "digits-sweep.toml"


@pytest.fixture
def typed(home, monkeypatch):
    monkeypatch.chdir(home)

    def make(path=DIGITS, **fields):
        return TypedRequest(path, path.stem, home / "runs", **fields)

    return make


@pytest.fixture
def points(home, monkeypatch):
    """The plan of a sweep of digits; `done` makes the run of one of its points, with a top-1."""
    monkeypatch.chdir(home)
    plan = plan_sweep(SweepRequest(LaunchRequest("digits", ("T=2,4",), seeds=(1, 2)), name="mine"))

    def done(number, top1, **summary):
        point = plan.points[number]
        run = launch.create(point.loaded, home / "runs", run_id=run_id_of(point), sweep=plan.request_of(point).sweep)
        reached = {"status": "completed", "last": {"top1": top1}, "best": {"top1": top1}} | summary
        write_json(run.summary_json, read_json(run.summary_json) | reached)
        return run

    return plan, done


@pytest.mark.parametrize(
    ("fields", "words", "runs"),
    [
        ({"overrides": "T=2,4 method=bptt,rate_m epochs=1"}, "T=2,4 method=bptt,rate_m epochs=1", 4),
        ({"overrides": "T=2,4", "seeds": "1 2", "device": "cpu"}, "T=2,4 run.device=cpu --seeds 1,2", 4),
        ({"overrides": "lr=0.01..0.5:log", "sweep": "5", "gpus": "none"}, "lr=0.01..0.5:log --gpus none --random 5", 5),
        ({"overrides": "T=2,4", "processes": "2", "tags": "a b"}, """T=2,4 'run.tags=["a", "b"]' --nproc 2""", 2),
    ],
)
def test_the_command_of_a_sweep_is_the_one_that_a_shell_takes(typed, fields, words, runs):
    found = typed_sweep(typed(**fields))
    assert shlex.join(found.asked.request.typed) == f"rbp sweep digits {words} --detach"
    assert len(found.plan.points) == runs


def test_a_preset_has_its_own_sweep_only_if_asked(typed):
    assert not is_sweep(typed(SWEEP))
    found = typed_sweep(typed(SWEEP, sweep="yes"))
    assert shlex.join(found.asked.request.typed) == "rbp sweep digits-sweep --detach"
    assert len(found.plan.points) == 12


def test_a_value_that_has_commas_of_its_own_is_no_sweep(typed):
    assert not is_sweep(typed(overrides="run.tags=a,b optim.milestones=[1,2] model.args={'a': 1, 'b': 2}"))
    assert is_sweep(typed(overrides="T=2,"))


@pytest.mark.parametrize(
    ("fields", "reasons"),
    [
        (
            {"overrides": "T=2,x lrr=1", "run_id": "a", "sweep": "no", "seeds": "1,1"},
            ["several", "expected yes", "different whole numbers", "lrr", "method.timesteps"],
        ),
        ({"overrides": "lr=0.1..0.5"}, ["say how often to draw"]),
        ({"overrides": "T=2,4", "sweep": "3"}, ["no setting has a range"]),
        ({"sweep": "yes"}, ["nothing varies"]),
        ({"overrides": "T=2,4 seed=3", "seeds": "1,2"}, ["seed="]),
        ({"overrides": "T=2,4 'a"}, ["quote"]),
    ],
)
def test_all_that_is_wrong_with_a_sweep_is_said_at_once(typed, fields, reasons):
    with pytest.raises(UserError) as error:
        typed_sweep(typed(**fields))
    assert all(reason in str(error.value) for reason in reasons), str(error.value)


def test_the_form_says_how_many_runs_there_are_and_how_many_of_them_are_done(typed, points, home, dashboard):
    _, done = points
    done(0, 0.9)
    fields = typed(overrides="T=2,4", seeds="1,2")
    said = describe_sweep(fields, list_runs(home / "runs")).plain.splitlines()
    assert said[0] == "4 runs: 2 combinations of T × seeds 1, 2"
    assert said[1] == "1 done, 3 to be created"


def rows(app):
    """What the table shows."""
    table = app.screen.query_one(SweepTable)
    return [" ".join(cell.plain for cell in table.get_row_at(number)).split() for number in range(table.row_count)]


async def test_the_table_of_a_sweep_fills_and_its_rows_can_be_opened_marked_and_left(points, dashboard, until):
    _, done = points
    run = done(0, 0.8)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        app = dashboard
        await until(pilot, lambda: app.session.listed and isinstance(app.screen, RunsScreen))
        await until(pilot, lambda: app.screen.rows.cells)
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and app.screen.board.rows)
        assert rows(app) == [["1", "80.00", "80.00", "■1"]]
        done(2, 0.84)
        for number in (1, 3):
            done(number, 0.9, status="stopped", cause="pruned")
        await until(pilot, lambda: len(rows(app)) == 2 and "▽2" in str(rows(app)))
        assert rows(app) == [
            ["✓", "1", "2", "82.00", "±", "2.83", "82.00", "±", "2.83", "■2"],
            ["2", "4", "–", "–", "▽2"],  # its result is not one to compare
        ]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, MonitorScreen))
        assert app.session.opened == run.id
        await pilot.press("2")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and app.screen.board.rows)
        await pilot.click("TopBar", offset=(app.screen.query_one(TopBar).shown.plain.index("Runs"), 0))
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and app.screen.board.rows)
        await pilot.press("space")
        await until(pilot, lambda: app.screen.marked)
        await pilot.press("c")
        await until(pilot, lambda: app.current_mode == "compare")
        assert len(app.session.state.compared) == 2
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and app.screen.board.rows)
        shutil.rmtree(app.session.runs)
        await until(pilot, lambda: not app.screen.board.rows)
        assert "No run of mine is here" in str(app.screen.query_one("#empty", Static).content)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, RunsScreen))


async def test_a_preset_shows_its_sweep_before_anything_is_started_and_the_form_starts_it(
    dashboard, until, typed, monkeypatch
):
    monkeypatch.setattr(start, "ensure_dispatcher", lambda: None)  # the runs only wait
    async with dashboard.run_test(size=(120, 40)) as pilot:
        app = dashboard
        await app.choose_preset("digits-sweep")
        await pilot.press("w")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and len(app.screen.board.rows) == 6)
        assert not app.session.runs.exists()
        assert all(row[-1] == "·2" for row in rows(app))
        await pilot.press("m")
        await until(pilot, lambda: isinstance(app.screen, LaunchForm))
        app.screen.query_one("#overrides", Input).value = "T=2,4"
        await until(pilot, lambda: "8 to be created" in str(app.screen.query_one("#verdict", Static).content))
        assert not app.session.runs.exists()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(app.screen, SweepScreen) and "…2" in str(rows(app)))
        assert len(rows(app)) == 4
        found = list_runs(app.session.runs)
        assert {record.verdict.status for record in found} == {"queued"}
        assert app.screen.board.standings == "8 queued"
        assert {read_run_json(record.run).sweep.name for record in found} == {"digits-sweep"}


async def test_a_run_of_no_sweep_says_how_one_is_made(home, end_run, dashboard, until):
    end_run(home / "runs", "alone", curve=[0.5])
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: isinstance(dashboard.screen, RunsScreen) and dashboard.screen.rows.cells)
        await pilot.press("w")
        await until(pilot, lambda: dashboard._notifications)
        assert "belongs to no sweep" in next(iter(dashboard._notifications)).message
