"""The Monitor over files written by the real writers, without workers."""

import os
import shutil
import time
from contextlib import asynccontextmanager
from dataclasses import asdict

import pytest
from textual.widgets import Input, TextArea

from rbp_engine import os_process
from rbp_engine.preset import load_preset
from rbp_engine.run import track
from rbp_engine.run.files import events
from rbp_engine.run.files.annotations import read_annotations
from rbp_engine.run.launch import launch
from rbp_engine.run.store.store import record
from rbp_engine.run.writer import EventWriter
from rbp_tui.dashboard.app import Dashboard
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.dialogs import Confirm
from rbp_tui.dashboard.monitor.log_pane import LogPane
from rbp_tui.dashboard.network.tab import NetworkTab
from rbp_tui.dashboard.text_line import Line
from tests.dashboard.screen_pictures import screen_text
from tests.run_files import change_fields, change_summary, tell, write_attempt

STEPS_PER_EPOCH, EPOCHS = 10, 10


@pytest.fixture
def write_run(home):
    """Write a run of some epochs as a worker would leave it; keywords change its summary. Its process is the test's."""

    def write(run_id, status="running", *, epochs=4, ranks=1, alive=True, **changes):
        run = launch.create(load_preset("digits", ["lr=0.05"]), home / "runs", run_id=run_id)
        now = time.time()
        write_events(run, epochs, ranks, now)
        reached = {
            "epoch": epochs,
            "epochs": EPOCHS,
            "step": epochs * STEPS_PER_EPOCH,
            "steps": EPOCHS * STEPS_PER_EPOCH,
        }
        change_fields(run, status=status, **reached, **changes)
        process = asdict(os_process.here()) | ({} if alive else {"started": 1})
        write_attempt(run, t=now - 60, process=process)
        run.stdout().write_text("".join(f"epoch {epoch}: top-1 .9\n" for epoch in range(epochs)))
        return run

    return write


def write_events(run, epochs, ranks, now):
    """Ten steps per epoch of one second each."""
    begun = now - epochs * STEPS_PER_EPOCH
    for rank in range(ranks):
        writer = EventWriter(run.events(rank), 1, rank)
        if rank == 0:
            start = events.RunStart(None, world_size=ranks, device="cpu", host="gpu2", steps_per_epoch=STEPS_PER_EPOCH)
            writer.write(start, 0, begun)
        for step in range(1, epochs * STEPS_PER_EPOCH + 1):
            t = begun + step
            writer.write(events.Metrics(0, 1 / step, 1 - 1 / step, 0.1, 4812.0, 26.6 + rank, 1.3), step, t)
            writer.write(events.System(rss=(600 + 10 * rank) * 2**20, mem_peak=(700 + 10 * rank) * 2**20), step, t)
            if rank == 0 and step % STEPS_PER_EPOCH == 0:
                writer.write(events.Validation(step // STEPS_PER_EPOCH, 0.5, 0.9, 0.99, 360), step, t)
                writer.write(events.CheckpointSaved(f"step-{step:08d}"), step, t)
        writer.close()


def said(app, selector):
    """The text of a line of the screen."""
    return app.screen.query_one(selector, Line).shown.plain


def traceback_of(error):
    frames = (f'  File "nets.py", line {number}, in call' for number in range(40))
    return "\n".join(["Traceback (most recent call last):", *frames, error])


def bindings(app):
    """The actions of the keys that do something now."""
    return {active.binding.action for active in app.screen.active_bindings.values()}


@pytest.fixture
def show(dashboard, until):
    """Open a run in the Monitor and wait until it has been read."""

    async def open_run(pilot, run):
        await until(pilot, lambda: dashboard.session.record_of(run.id) is not None)
        dashboard.open_run(run.id)
        await until(pilot, lambda: getattr(dashboard.screen, "seen", None) is not None)
        await until(pilot, lambda: dashboard.screen.seen.run == run and run.id[-4:] in said(dashboard, "#title"))
        await pilot.pause()

    return open_run


@pytest.fixture
def shown(dashboard, show):
    """Open the dashboard with a run in the Monitor."""

    @asynccontextmanager
    async def open_dashboard(run, size=(80, 24), **options):
        async with dashboard.run_test(size=size, **options) as pilot:
            await show(pilot, run)
            yield pilot

    return open_dashboard


async def test_a_message_does_not_cover_the_log(dashboard, until, shown, write_run):
    async with shown(write_run("run-0"), notifications=True) as pilot:
        dashboard.notify("a message of some length, which takes two rows " * 2)
        await until(pilot, lambda: dashboard.screen.query("Toast") and dashboard.screen.query_one("Toast").region)
        assert not dashboard.screen.query_one("Toast").region.overlaps(dashboard.screen.query_one(LogPane).region)


async def test_a_run_goes_on_behind_a_question_about_it(dashboard, until, shown, write_run):
    run = write_run("20260102-030405-digits-rate_m-aaaa")
    async with shown(run) as pilot:
        await pilot.press("s")
        await until(pilot, lambda: isinstance(dashboard.screen, Confirm))
        behind = dashboard.screen_stack[0]
        change_fields(run, epoch=7, step=70)
        with run.events().open("a") as file:
            file.write(run.events().read_text().splitlines()[-2].replace('"step": 40', '"step": 70'))
        await until(pilot, lambda: "epoch 7" in behind.query_one("#progress", Line).shown.plain)
        await pilot.press("escape")


async def test_it_begins_with_the_newest_run_that_trains(dashboard, write_run, until):
    write_run("a-trains")
    write_run("b-ended", "completed", epochs=EPOCHS)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await until(pilot, lambda: dashboard.session.records)
        await pilot.press("3")
        await until(pilot, lambda: dashboard.session.opened == "a-trains")


async def test_a_run_that_starts_again_has_none_of_the_speed_of_its_last_attempt(dashboard, show, until, write_run):
    running, starting = write_run("a-runs", epochs=EPOCHS), write_run("b-starts", "starting", epochs=EPOCHS)
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await show(pilot, running)
        assert "26.6 ms" in said(dashboard, "#speed") and "lr 0.1" in said(dashboard, "#progress")
        await show(pilot, starting)
        assert said(dashboard, "#speed") == "" and "lr" not in said(dashboard, "#progress")


async def test_every_status_looks_different_and_shows_its_reason_and_what_to_do(dashboard, show, until, write_run):
    expected = {
        "queued": ("… QUEUED", "waiting for its turn"),
        "starting": ("▷ STARTING", "the worker loads"),
        "running": ("▶ RUNNING", ""),
        "stopping": ("‖ STOPPING", "asked to stop: it saves after its step"),
        "completed": ("■ COMPLETED", "test top-1 95.00 %"),
        "stopped": ("‖ STOPPED", "asked to stop, saved at step 40", "   r resumes from step-00000040"),
        "preempted": ("‖ PREEMPTED", "SIGTERM, saved at step 40"),
        "failed": ("✗ FAILED", "out of memory", "   T shows the traceback · r resumes from step-00000040"),
        "killed": ("✗ KILLED", "killed (1 process)"),
        "stalled": ("! STALLED", "no step for"),
        "stale": ("~ STALE", "running, but no sign of life for 2"),
        "lost": ("? LOST", "r resumes from step-00000040"),
    }
    runs = {}
    for status, (_, why, *_) in expected.items():
        written = "running" if status in ("stopping", "stalled", "stale", "lost") else status
        reason = why if status in ("stopped", "preempted", "failed", "killed") else ""
        test = {"last": 0.95} if status == "completed" else {}
        runs[status] = write_run(f"run-{status}", written, reason=reason, alive=status != "lost", test=test)
    runs["stopping"].stop_request.touch()
    async with dashboard.run_test(size=(120, 40)) as pilot:
        for status, (title, *why) in expected.items():
            now = time.time()
            updated, progressed = now - 20 * (status == "stale"), now - 500 * (status == "stalled")
            change_summary(runs[status], updated=updated, progressed=progressed)
            await show(pilot, runs[status])
            await until(pilot, lambda title=title: title in said(dashboard, "#title"))
            sentence = "".join(why)
            await until(pilot, lambda sentence=sentence: sentence in said(dashboard, "#why"))
            assert "cpu · gpu2" in said(dashboard, "#title")
            resumable = status in ("stopped", "preempted", "failed", "killed", "lost")
            assert ("resume" in bindings(dashboard)) == (resumable or status == "completed")
            assert "kill" in bindings(dashboard)  # also ends what an ended run has left
            assert ("traceback" in bindings(dashboard)) == (status == "failed")
            assert dashboard.screen.query_one("#loss", CurveChart).dimmed == (status in ("stale", "lost"))


async def test_a_run_whose_folder_disappears_stays_visible_and_can_come_back(shown, dashboard, until, write_run):
    run = write_run("run-gone")
    async with shown(run) as pilot:
        elsewhere = run.path.with_name(".elsewhere")
        run.path.rename(elsewhere)
        await until(pilot, lambda: "GONE" in said(dashboard, "#title"))
        assert f"{run.path} is no longer there" in said(dashboard, "#why")
        assert bindings(dashboard).isdisjoint({"stop", "kill", "resume"})
        assert len(dashboard.screen.seen.history.curves["train/loss"]) == 40
        elsewhere.rename(run.path)
        await until(pilot, lambda: "GONE" not in said(dashboard, "#title"))  # it is stale by now if this took long


async def test_a_run_whose_run_json_is_damaged_says_so(shown, dashboard, write_run):
    run = write_run("run-torn")
    run.run_json.write_text("{")
    async with shown(run):
        assert "UNREADABLE" in said(dashboard, "#title") and "run.json is damaged" in said(dashboard, "#why")
        assert len(dashboard.screen.seen.history.curves["train/loss"]) == 40


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
async def test_loss_accuracy_memory_and_speed_are_shown_at_every_size(shown, dashboard, write_run, size):
    run = write_run("run-sizes", reason="")
    async with shown(run, size):
        text = screen_text(dashboard)
    wide = size[0] >= 110
    lines = ("600 MiB", "700 MiB peak", "4\u202f812 samples/s", "step 26.6 ms", "data 5 %")
    charts = ("memory MiB", "samples/s", "ms per step")
    for words in ("loss", "top-1 %", "lr 0.1", *(charts if wide else lines)):
        assert words in text, words
    assert "700 MiB peak" not in text or not wide  # the chart of memory says it
    assert "epoch 3: top-1 .9" in text
    assert ("surrogate" in text) == wide  # the run card
    assert "? help" in text and "q leave" in text


async def test_the_card_lists_differences_to_the_preset_or_to_the_pinned_run(shown, show, dashboard, until, write_run):
    run, other = write_run("run-card"), write_run("run-base", experiment="f")
    other.preset_toml.write_text(other.preset_toml.read_text().replace("timesteps = 4", "timesteps = 6"))
    async with shown(other, size=(120, 40)) as pilot:
        await pilot.press("b")
        await show(pilot, run)
        await until(pilot, lambda: "method.timesteps 4 (not 6)" in said(dashboard, "#card Line"))
        assert "differs from run-base, the baseline" in said(dashboard, "#card Line")
        await show(pilot, other)
        await pilot.press("b")
        await until(pilot, lambda: "differs from digits" in said(dashboard, "#card Line"))
        assert "optim.lr 0.05 (not" in said(dashboard, "#card Line")


async def test_a_run_is_compared_with_its_seeds_or_with_the_pinned_baseline(shown, show, dashboard, until, write_run):
    run, seed, other = write_run("run-one"), write_run("run-two"), write_run("run-base", experiment="f")
    async with shown(run) as pilot:
        await pilot.press("c")
        await until(pilot, lambda: dashboard.current_mode == "compare")
        assert set(dashboard.session.state.compared) == {run.id, seed.id}
        dashboard.session.pin(other.id)
        await show(pilot, run)
        await pilot.press("c")
        await until(pilot, lambda: dashboard.current_mode == "compare")
        assert dashboard.session.state.compared == [other.id, run.id]


async def test_the_log_is_searched_and_followed(shown, dashboard, until, write_run):
    run = write_run("run-log")
    run.stdout().write_text("".join(f"epoch {number} fine\n" for number in range(200)) + "data STALLED\nlast line\n")
    async with shown(run) as pilot:
        pane = dashboard.screen.query_one(LogPane)
        await until(pilot, lambda: "last line" in screen_text(dashboard))

        async def find(words):
            await pilot.press("slash")
            dashboard.screen.query_one("#find", Input).value = words
            await pilot.press("enter")

        await find("epoch 1")
        assert pane.lines.current == 199
        await pilot.press("enter")
        assert pane.lines.current == 198
        assert "'epoch 1' 110/111" in said(dashboard, "#log_head")
        await find("stalled")
        assert "STALLED" in pane.lines.lines[pane.lines.current]
        await find("zzz")
        assert any("not in what is shown" in note.message for note in dashboard._notifications)
        await pilot.press("escape")
        with run.stdout().open("a") as file:
            file.write("\x1b[31mnews\n")
        await until(pilot, lambda: "news" in screen_text(dashboard))
        assert not pane.lines.wanted
        await pilot.press("slash", "escape")  # cancels the search
        assert not dashboard.screen.query_one("#find", Input).display
        await pilot.press("5")
        assert dashboard.current_mode == "system"


async def test_the_traceback_comes_from_the_rank_that_failed_first(shown, dashboard, until, write_run):
    run = write_run("run-ranks", "failed", ranks=2, reason="RuntimeError: lost its peer")
    for rank, cause, t in ((0, "lost its peer", 2.0), (1, "out of memory", 1.0)):
        error = f"RuntimeError: {cause}"
        tell(run, events.ErrorRaised(error, traceback_of(error)), step=40, rank=rank, now=time.time() + t)
    async with shown(run) as pilot:
        await until(pilot, lambda: dashboard.screen.seen.history.failure is not None)
        await pilot.press("T")
        await until(pilot, lambda: "RuntimeError: out of memory" in screen_text(dashboard).split("\nlog", 1)[-1])
        pane = dashboard.screen.query_one(LogPane)
        assert pane.lines.lines[0].startswith("Traceback")
        await pilot.press("v")
        await until(pilot, lambda: "epoch 3: top-1" in "\n".join(pane.lines.lines))


async def test_a_run_that_failed_before_any_point_shows_its_failure_once(shown, show, dashboard, until, write_run):
    trace = traceback_of("ValueError: 8 is not 9")
    run = write_run("run-early", "failed", epochs=0, reason="ValueError: 8 is not 9")
    tell(run, events.ErrorRaised("ValueError: 8 is not 9", trace, cause="own_code"), step=0)
    run.stderr().write_text(f"a warning of torch\n{trace}\n")
    async with shown(run) as pilot:
        await until(pilot, lambda: "the traceback above" in screen_text(dashboard))
        text = screen_text(dashboard)
        assert said(dashboard, "#why").startswith(" ValueError: 8 is not 9")
        assert text.count("ValueError: 8 is not 9") == 2  # the reason in the head, and the end of the traceback
        assert text.count("line 39, in call") == 1 and "a warning of torch" in text
        assert not dashboard.screen.query_one("#loss").display and not dashboard.screen.query_one("#alert").display
        assert "traceback" not in bindings(dashboard)
        other = write_run("run-well")
        await show(pilot, other)
        await until(pilot, lambda: dashboard.screen.query_one("#loss").display)
        assert dashboard.focused is dashboard.screen.query_one("#loss")


async def test_a_resume_is_not_offered_of_a_run_whose_own_code_failed(shown, dashboard, until, write_run):
    run = write_run("run-own", "failed", reason="nets.py line 9: ValueError: 8 is not 9", cause="own_code")
    async with shown(run) as pilot:
        await until(pilot, lambda: "correct the file first" in screen_text(dashboard))
        assert "resume" not in bindings(dashboard) and "r resume" not in screen_text(dashboard)


async def test_what_a_run_is_doing_and_its_alert_have_their_places(shown, dashboard, until, write_run):
    run = write_run("run-compiles", epochs=0, phase="compiling")
    async with shown(run) as pilot:
        assert "▶ RUNNING compiling" in said(dashboard, "#title")
        assert "compiling…" in said(dashboard, "#no_curves_sentence")
        tell(run, events.Metrics(0, 1.0, 0.5, 0.1), step=1)
        await until(pilot, lambda: dashboard.screen.query_one("#loss").display)
        assert not dashboard.screen.query_one("#no_curves").display
        assert not dashboard.screen.query_one("#alert").display
        tell(run, events.WarningRaised("data stalled 8 s"), step=2)
        await until(pilot, lambda: "data stalled 8 s" in said(dashboard, "#alert"))
        assert dashboard.screen.query_one("#alert").display


async def test_events_that_cannot_be_read_are_named_where_the_curves_would_be(shown, dashboard, until, write_run):
    run = write_run("run-pipe", epochs=0)
    run.events().unlink()
    os.mkfifo(run.events())
    async with shown(run) as pilot:
        await until(pilot, lambda: "events cannot be read" in said(dashboard, "#no_curves_sentence"))
        assert "named pipe" in said(dashboard, "#no_curves_sentence")


async def test_without_an_error_event_the_traceback_is_found_in_the_logs(shown, dashboard, until, write_run):
    run = write_run("run-dead", alive=False)
    trace = "Traceback (most recent call last):\n  x\nSyntaxError: no\n"
    run.stderr().write_text("warning\n" * 50 + trace + "end\n" * 50)
    async with shown(run) as pilot:
        await until(pilot, lambda: dashboard.screen.query_one(LogPane).lines.line_count > 100)
        await pilot.press("T")
        await pilot.pause()
        assert "SyntaxError: no" in screen_text(dashboard)
        run.stderr().write_text("")
        run.stdout().write_text("")


async def test_each_rank_has_its_memory_and_log_and_a_row_in_a_table(shown, dashboard, until, write_run):
    run = write_run("run-many", ranks=3)
    for rank in range(3):
        folder = run.ranks / "run-many_x" / "attempt_0" / str(rank)
        folder.mkdir(parents=True)
        (folder / "stdout.log").write_text(f"this is rank {rank}\n")
    (run.ranks / "launcher-1-node0.log").write_text("this is torchrun\n")
    async with shown(run, size=(200, 60)) as pilot:
        table = said(dashboard, "#ranks Line")
        assert [row.split()[0] for row in table.strip().split("\n")] == ["rank", "0", "1", "2"]
        assert "+4 %" in table  # 28.6 ms, with a median of 27.6
        await until(pilot, lambda: "this is rank 0" in screen_text(dashboard))
        await pilot.press("v", "v")
        await until(pilot, lambda: "this is rank 1" in screen_text(dashboard))
        await pilot.resize_terminal(80, 24)
        await until(pilot, lambda: "710 MiB peak" in said(dashboard, "#memory"))
        await pilot.press("v", "v")
        await until(pilot, lambda: "this is torchrun" in screen_text(dashboard))
        await pilot.press("v")
        await until(pilot, lambda: "720 MiB peak" in said(dashboard, "#memory"))
        assert "rank 2, worst of 3" in said(dashboard, "#memory")


async def test_of_a_run_without_any_log_every_process_can_be_chosen(shown, dashboard, write_run):
    run = write_run("run-many", ranks=3)
    shutil.rmtree(run.stdout().parent)
    async with shown(run, size=(120, 40)) as pilot:
        await pilot.press("v", "v", "v", "v")
        assert dashboard.screen.process == ""


async def test_tags_and_a_note_are_saved_with_the_run_and_shown_verbatim(shown, dashboard, until, write_run):
    run = write_run("run-tagged", tags=["old"])
    async with shown(run, size=(120, 40), notifications=True) as pilot:
        await pilot.press("t")
        await until(pilot, lambda: dashboard.screen.query(Input))
        dashboard.screen.query_one(Input).value = "paper -old +[/b]"
        await pilot.press("enter")
        await until(pilot, lambda: record(run).tags == ("paper", "[/b]"))
        await until(pilot, lambda: "tags: paper [/b]" in screen_text(dashboard))
        await pilot.press("n")
        await until(pilot, lambda: dashboard.screen.query(TextArea))
        await pilot.press(*"first", "enter", *"cutout", "ctrl+s")
        await until(pilot, lambda: read_annotations(run).note == "first\ncutout")
        await until(pilot, lambda: "paper [/b]" in said(dashboard, "#card Line"))
        await pilot.press("t")
        await pilot.press("escape")
        await pilot.pause()
    assert record(run).tags == ("paper", "[/b]")


async def test_the_cursor_is_the_same_in_all_charts(shown, dashboard, write_run):
    run = write_run("run-cursor")
    async with shown(run, size=(120, 40)) as pilot:
        await pilot.press("left", "left")
        await pilot.pause()
        places = {chart.cursor for chart in dashboard.screen.query(CurveChart)}
        assert len(places) == 1 and None not in places
        await pilot.press("h")
        assert {chart.x_axis for chart in dashboard.screen.query(CurveChart)} == {"step"}
        await pilot.press("z")
        assert dashboard.screen.maximized is dashboard.screen.query_one("#loss")
        await pilot.press("z")
        assert dashboard.screen.maximized is None


async def test_charts_keep_their_view_between_visits(dashboard, show, write_run, home):
    run = write_run("run-view")
    async with dashboard.run_test(size=(80, 24)) as pilot:
        await show(pilot, run)
        await pilot.press("l", "right_square_bracket", "h", "tab", "right_square_bracket", "right_square_bracket")
        left = [(chart.y_log, chart.smoothing) for chart in dashboard.screen.query("#charts CurveChart")]
        assert left[0][0] and 0 < left[0][1] < left[1][1]
    again = Dashboard(home / "runs")
    async with again.run_test(size=(80, 24)) as pilot:
        await pilot.press("3")
        await pilot.pause()
        charts = again.screen.query("#charts CurveChart")
        assert [(chart.y_log, chart.smoothing) for chart in charts] == left
        assert again.session.state.x_axis == "step"


async def test_evaluations_are_labelled_by_the_data_that_they_use(shown, dashboard, write_run, until):
    run = write_run("run-split")
    run.events().write_text(run.events().read_text().replace('"split": "test"', '"split": "held-out"'))
    async with shown(run, size=(120, 40)) as pilot:
        for legend in ("● train 0.0250  ╍ validation 0.500", "● train 97.5  ╍ validation 90.0"):
            await until(pilot, lambda legend=legend: legend in screen_text(dashboard))


async def test_a_run_of_another_program_is_shown_over_what_it_has_and_offered_what_can_be_done(dashboard, home, until):
    """It does not say how many steps an epoch has, nor how many there will be."""
    with track({"lr": 0.1}, run_id="foreign", runs_dir=home / "runs") as run:
        for loss in (0.5, 0.4, 0.04):
            run.log(loss=loss, spikes=0.3)
    async with dashboard.run_test(size=(120, 30)) as pilot:
        dashboard.open_run("foreign")
        screen = dashboard.screen
        await until(pilot, lambda: screen.seen is not None and "step 3" in str(screen.query_one("#progress").shown))
        assert screen.axis == "step"
        (curve,) = screen.query_one("#loss", CurveChart)._model.curves
        assert list(curve.x) == [1, 2, 3] and list(curve.series.y) == [0.5, 0.4, 0.04]
        assert screen.query_one("#spikes", Line).shown.plain == " logged train/loss 0.040   spikes 0.300"
        assert "epoch" not in screen.query_one("#progress", Line).shown.plain
        assert not {"kill", "resume", "again"} & screen.keys().keys()
        assert screen.keys()["tag"] and "0 %" not in screen.query_one("#progress", Line).shown.plain
        await pilot.press("6")
        screen = dashboard.screen
        for tab in screen.query(NetworkTab):
            screen.action_open(tab.TITLE)
            await pilot.pause()
            said = "".join(line.shown.plain for line in tab.query(Line))
            assert "Launch it again" not in said and "rbp eval" not in said, tab.TITLE
