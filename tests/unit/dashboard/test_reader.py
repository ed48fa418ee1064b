"""The thread that reads runs: what it hands over, and which damage it survives."""

import shutil
import time

import pytest

from rbp_engine.run.files import event_reader
from rbp_engine.run.files.events import Metrics, RunStart, System, Validation
from rbp_engine.run.writer import EventWriter
from rbp_tui.dashboard.reading import reader
from rbp_tui.dashboard.reading.reader import ProblemMet, RunSeen, RunsListed, RunsReader, TrendsRead
from rbp_tui.dashboard.reading.sparklines import Trend
from tests.waiting import wait_for


class Heard:
    """A reader, with everything that it has handed over."""

    def __init__(self, runs):
        self.lists, self.sights, self.trends, self.problems = [], [], {}, []
        self.reader = RunsReader(runs, self.hear)

    def hear(self, news):
        match news:
            case RunsListed():
                self.lists.append(news.records)
            case RunSeen():
                self.sights.append(news.sight)
            case TrendsRead():
                self.trends.update(news.trends)
            case ProblemMet():
                self.problems.append(news.problem)

    until = staticmethod(wait_for)

    def sight_of(self, run):
        return next((sight for sight in reversed(self.sights) if sight.run == run), None)

    def values(self, run_id):
        return self.trends[run_id].values if run_id in self.trends else ()

    def points(self, run, name="train/loss"):
        sight = self.sight_of(run)
        return [] if sight is None or name not in sight.history.curves else sight.history.curves[name].step.tolist()


@pytest.fixture
def runs(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def heard(runs, monkeypatch):
    for name in ("LIST_EVERY_S", "TRENDS_EVERY_S", "LIST_HAND_OVER_S"):  # several times as often as on a screen
        monkeypatch.setattr(reader, name, 0.1)
    heard = Heard(runs)
    heard.reader.start()
    yield heard
    heard.reader.stop()
    heard.reader._thread.join(60)
    assert not heard.reader._thread.is_alive()


def metrics(loss=0.5):
    return Metrics(0, loss, 0.9, 0.1, 100.0, 5.0, 1.0)


def append(run, *bodies, rank=0, attempt=1, step=1000):
    writer = EventWriter(run.events(rank), attempt, rank)
    for number, body in enumerate(bodies):
        writer.write(body, step + number)
    writer.close()


def test_an_empty_list_is_handed_over_too(heard):
    heard.until(lambda: heard.lists == [()])


def test_only_watched_runs_are_read_in_full(heard, runs, write_run):
    seen = write_run(runs, "seen", bodies=(metrics(), metrics()))
    unseen = write_run(runs, "unseen", bodies=(metrics(),))
    heard.reader.watch(["seen"])
    heard.until(lambda: heard.points(seen) == [0, 1])
    append(seen, metrics())
    heard.until(lambda: heard.points(seen) == [0, 1, 1000])
    heard.reader.watch(["unseen"])
    heard.until(lambda: heard.points(unseen) == [0])


def test_without_changes_nothing_is_handed_over(heard, runs, write_run):
    run = write_run(runs, "run", bodies=(metrics(),))
    heard.reader.watch(["run"])
    heard.until(lambda: heard.points(run) and heard.lists and heard.lists[-1])
    time.sleep(0.2)
    before = len(heard.sights), len(heard.lists)
    time.sleep(0.4)
    assert (len(heard.sights), len(heard.lists)) == before


def test_events_in_quick_succession_are_handed_over_together(heard, runs, write_run):
    run = write_run(runs, "run")
    heard.reader.watch(["run"])
    heard.until(lambda: heard.sight_of(run))
    begun, before = time.monotonic(), len(heard.sights)
    writer = EventWriter(run.events(), 1)
    for step in range(300):
        writer.write(metrics(), step)
        time.sleep(0.001)
    writer.close()
    heard.until(lambda: len(heard.points(run)) == 300)
    assert len(heard.sights) - before <= 2 + (time.monotonic() - begun) / 0.1


def test_a_long_file_is_read_completely_but_in_turns_with_others(heard, runs, write_run, monkeypatch):
    monkeypatch.setattr("rbp_tui.dashboard.reading.reader.TURN_S", 0.0)
    monkeypatch.setattr(event_reader, "READ_AT_ONCE", 4096)
    long = write_run(runs, "long", bodies=tuple(metrics() for _ in range(2000)))
    short = write_run(runs, "short", bodies=(metrics(),))
    heard.until(lambda: heard.lists and len(heard.lists[-1]) == 2)
    heard.reader.watch(["long", "short"])
    heard.until(lambda: heard.points(short) and len(heard.points(long)) == 2000)
    halfway = next(number for number, sight in enumerate(heard.sights) if sight.run == short)
    assert len(heard.sights[halfway].history.curves["train/loss"]) == 1
    before = [sight.history.curves.get("train/loss", ()) for sight in heard.sights[:halfway] if sight.run == long]
    assert all(len(curve) < 2000 for curve in before)


def test_lines_that_are_not_events_are_reported_once_per_run(heard, runs, write_run):
    run = write_run(runs, "run", bodies=(metrics(),))
    heard.reader.watch(["run"])
    for number in range(3):
        with run.events().open("a") as file:
            file.write('{"v": 2, "kind": "metrics"}\n')
        heard.until(lambda number=number: heard.sight_of(run) and f"{number + 1} line" in heard.sight_of(run).problem)
    assert heard.problems == ["run: 1 line of its events left out: damaged, or of another version of rbp"]
    assert heard.points(run) == [0]


def test_unreadable_runs_are_reported_once(heard, runs, write_run):
    elsewhere = runs.with_name("elsewhere")
    for name in ("torn", "a", "b"):
        write_run(elsewhere, name).run_json.write_text("{")
    runs.mkdir()
    (elsewhere / "torn").rename(runs / "torn")
    heard.until(lambda: heard.problems)
    assert heard.problems[0].startswith("torn cannot be read: run.json is damaged (input data was truncated)")
    for name in ("a", "b"):
        (elsewhere / name).rename(runs / name)
    heard.until(lambda: len(heard.lists[-1]) == 3)
    heard.until(lambda: len(heard.problems) > 1)
    told = [problem for problem in heard.problems[1:] if "cannot be read" in problem]
    assert 1 <= len(told) <= 2


def test_unreadable_events_are_reported_and_do_not_block_other_runs(heard, runs, write_run):
    other = write_run(runs, "other", bodies=(metrics(),))
    run = write_run(runs, "run")
    run.events().symlink_to(run.events())  # even root cannot read it
    append(run, System(rss=1), rank=1)
    heard.reader.watch(["run", "other"])
    heard.until(lambda: heard.points(other) and heard.points(run, "memory/1") and heard.problems)
    (problem,) = heard.problems
    assert problem.startswith("run: events cannot be read:") and "symbolic links" in problem


def test_a_file_as_runs_directory_is_reported_once_and_a_directory_in_its_place_is_read(heard, runs, write_run):
    runs.write_text("not a directory")
    heard.until(lambda: heard.problems)
    time.sleep(0.3)
    assert heard.problems == [f"cannot read the runs directory {runs}: Not a directory"]
    runs.unlink()
    write_run(runs, "run")
    heard.until(lambda: heard.lists and heard.lists[-1])
    shutil.rmtree(runs)
    heard.until(lambda: heard.lists[-1] == ())


def validation(epoch, top1, loss=0.5):
    return Validation(epoch, loss, top1, None, 100)


def test_trends_of_validations_are_read_for_the_shown_runs(heard, runs, write_run):
    write_run(runs, "shown", bodies=(RunStart(), validation(1, 0.5), metrics(), validation(2, 0.6)))
    write_run(runs, "hidden", bodies=(validation(1, 0.1),))
    write_run(runs, "losses", bodies=(validation(1, None, 0.9), validation(2, None, 0.8)))
    heard.reader.follow_trends(["shown", "losses"])
    heard.until(lambda: len(heard.trends) == 2)
    assert heard.trends["shown"] == Trend("top1", (1.0, 2.0), (0.5, 0.6))
    assert heard.trends["losses"] == Trend("loss", (1.0, 2.0), (0.9, 0.8))


def test_the_trend_continues_and_drops_epochs_that_a_resume_repeats(heard, runs, write_run):
    run = write_run(runs, "run")
    append(run, RunStart(epoch=0), *(validation(epoch, epoch / 10) for epoch in (1, 2, 3)), step=0)
    heard.reader.follow_trends(["run"])
    heard.until(lambda: heard.values("run") == (0.1, 0.2, 0.3))
    append(run, RunStart(epoch=2), validation(3, 0.9), attempt=2, step=2)
    heard.until(lambda: heard.values("run") == (0.1, 0.2, 0.9))


def test_a_long_trend_is_thinned_and_keeps_its_first_and_newest(heard, runs, write_run):
    write_run(runs, "run", bodies=tuple(validation(epoch, epoch / 1000) for epoch in range(1, 1000)))
    heard.reader.follow_trends(["run"])
    heard.until(lambda: heard.values("run")[-1:] == (0.999,))
    trend = heard.values("run")
    assert len(trend) <= 60 and trend[0] == 0.001 and list(trend) == sorted(trend)
