"""The picture of a run that is followed, and what a log says instead."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import ConsoleDimensions

from rbp_engine.run.files.events import Event, FiringRates, Metrics, RunStart, Scores, System, Validation, to_json
from rbp_engine.run.files.layout import short_id
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.history.curves import Curve
from rbp_engine.run.history.history import HistoryBuilder
from rbp_engine.run.phase import Phase
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import list_runs
from rbp_tui.charts.run_curves import blocks
from rbp_tui.cli.safe_console import SafeConsole
from rbp_tui.cli.train.picture import picture
from rbp_tui.cli.train.place import place
from rbp_tui.cli.train.plain_lines import PlainLines
from rbp_tui.cli.train.results import print_results

BRAILLE = {chr(code) for code in range(0x2801, 0x2900)}
BLOCKS = set("▁▂▃▄▅▆▇█")


def events():
    yield Event(0, 0.0, 1, 0, 0, RunStart(steps_per_epoch=50, epochs=4, neuron_layers=["a", "b"]))
    for step in range(10, 160, 10):
        loss, top1 = 2.0 / step, 1 - 1 / step
        yield Event(step, float(step), 1, 0, step, Metrics(step // 50, loss, top1, 0.1, 900.0 + step, 20.0, 1.0))
        yield Event(step, float(step), 1, 0, step, FiringRates([[0.1, 0.3], [0.5, 0.7]], [0.3, 0.1], [0.0, 0.05]))
        if step % 50 == 0:
            yield Event(step, step + 0.5, 1, 0, step, Validation(step // 50, loss, top1, None, 100))
            yield Event(step, step + 0.5, 1, 0, step, System(rss=2**28 + step, mem_peak=2**28 + step))


@pytest.fixture
def live(tmp_path, write_run):
    """The record of a live run at step 150 of 200, and its history."""
    write_run(tmp_path, "one")
    (found,) = list_runs(tmp_path)
    summary = replace(found.summary, step=150, steps=200, epoch=3, epochs=4, phase=Phase.TRAINING)
    summary = replace(summary, train=Scores(0.9, loss=0.02), last=Scores(0.9, loss=0.1), samples_per_s=1234.0)
    summary = replace(summary, steps_per_epoch=50, paced_from=10.0, paced_step=10, progressed=150.0)
    history = HistoryBuilder()
    history.add(events())
    return replace(found, summary=summary, verdict=Verdict("running", "")), history.history()


def shown(record, history, width, height, phase=""):
    out = io.StringIO()
    console = SafeConsole(file=out, width=width, height=height, force_terminal=True, color_system=None)
    console.print(picture(record, history, "Ctrl-C leaves", phase, ConsoleDimensions(width, height)))
    return [line.rstrip() for line in out.getvalue().splitlines()]


@pytest.mark.parametrize("size", [(40, 12), (59, 40), (80, 12), (99, 24), (100, 24), (200, 60)])
@pytest.mark.parametrize("begun", [True, False])
def test_the_picture_fits_the_terminal_and_charts_are_drawn_where_there_is_room(live, size, begun):
    width, height = size
    record, history = live
    if not begun:
        record = replace(record, summary=replace(record.summary, step=0, epoch=0, train=Scores(), last=Scores()))
        history = HistoryBuilder().history()
    lines = shown(record, history, width, height, "" if begun else "compiling")
    assert len(lines) < height and max(map(len, lines)) <= width
    roomy = width >= 60 and height >= 24
    if begun:
        assert bool(BRAILLE & set("".join(lines))) == roomy
        assert any("loss" in line and "top-1 %" in line for line in lines) == (width >= 100)
        assert any(line.startswith(" spikes ▃█   rate 40.0 %") for line in lines)
        assert any(line.startswith(" speed  ") for line in lines) and "75 %" in lines[1]
        assert ("ETA 50s" in lines[1]) == (width >= 80)
    else:
        assert any("compiling" in line for line in lines[2:]), "where the values will be"


@pytest.mark.parametrize("status", ["queued", "starting"])
def test_a_run_that_starts_again_has_none_of_the_speed_of_its_last_attempt(live, status):
    record, history = live
    lines = shown(replace(record, verdict=Verdict(status, "")), history, 200, 60)
    assert "ETA" in lines[1] and "lr" not in lines[1]
    assert not [line for line in lines if line.startswith((" speed", " memory"))]


def test_in_a_low_terminal_the_curves_have_one_length(live):
    lines = shown(*live, 90, 12)[2:6]
    ends = {max(place for place, sign in enumerate(line) if sign in BLOCKS) for line in lines}
    assert [line.split()[0] for line in lines] == ["loss", "top-1", "memory", "speed"]
    assert len(ends) == 1


TIMES = st.lists(st.floats(0, 1e6), min_size=1, max_size=50).map(sorted)


@given(TIMES, st.data(), st.integers(1, 200), st.booleans())
def test_blocks_cover_every_column_from_the_first_point_to_the_end(seconds, data, width, log):
    values = data.draw(st.lists(st.floats(1e-9, 1e9) | st.just(np.nan), min_size=len(seconds), max_size=len(seconds)))
    x = np.array(seconds)
    line = blocks(Curve(x, x, x, np.array(values)), max(seconds), width, log=log)
    assert len(line) == width
    assert set(line.lstrip()) <= BLOCKS and bool(line.strip()) == (not np.isnan(values).all())


@given(st.integers(1, 300), st.integers(1, 5000), st.data())
def test_a_step_has_one_place_in_its_epoch(epochs, per_epoch, data):
    step = data.draw(st.integers(0, epochs * per_epoch))
    said = place(Summary("a", "p", "e", "bptt", 1, 1, step=step, steps_per_epoch=per_epoch, epochs=epochs))
    epoch, of_epochs, at, steps = map(int, re.fullmatch(r"epoch (\d+)/(\d+), step (\d+)/(\d+)", said).groups())
    assert (of_epochs, steps) == (epochs, per_epoch) and 1 <= epoch <= epochs
    assert (epoch - 1) * per_epoch + at == step and at <= per_epoch


def test_lines_of_a_pair_name_the_value_that_each_run_has(live, capsys):
    record, _ = live
    view = PlainLines(several=True, words={record.run.id: "T=2"})
    view.lines(record, [to_json(event).encode() for event in events()])
    said = capsys.readouterr().out.splitlines()
    assert said and all(f" T=2 seed {record.summary.seed}: " in line for line in said)


def test_a_log_says_where_a_run_is_once_nothing_was_said_for_the_interval(live, capsys):
    record, _ = live
    view = PlainLines(several=False, every_s=0.0)
    view.lines(record, [to_json(event).encode() for event in events()])
    for phase in (Phase.IMPORTS, Phase.COMPILING, Phase.COMPILING, Phase.TRAINING, Phase.EVALUATING):
        step = 0 if phase in (Phase.IMPORTS, Phase.COMPILING) else 120
        view.show([replace(record, summary=replace(record.summary, phase=phase, step=step))])
    PlainLines(several=False, every_s=60.0).show([record])
    said = [line[9:] for line in capsys.readouterr().out.splitlines()]
    assert said[-5:] == [
        "loading torch",
        "compiling the neurons: the first step takes longer",
        "compiling",
        "epoch 3/4, step 20/50, loss 0.020, 1\u202f234 samples/s, ETA 1m42",
        "epoch 3/4, step 20/50, evaluating, loss 0.020, 1\u202f234 samples/s, ETA 1m42",
    ]


def test_at_the_end_of_several_seeds_the_mean_is_of_those_that_completed(tmp_path, write_run, capsys):
    tops = {"one": 0.9, "two": 0.92, "three": 0.1}
    for updated, (name, top1) in enumerate(tops.items(), start=1000):
        write_run(tmp_path, name, last=Scores(top1, epoch=3), best=Scores(top1, epoch=2), updated=updated)
    runs = {entry.run.id: entry.run for entry in list_runs(tmp_path)}
    verdicts = [Verdict("completed", ""), Verdict("completed", ""), Verdict("stopped", "on request")]
    print_results([runs[name] for name in tops], verdicts, begun=1002.0 - 75.0)  # whenever its end is shown
    text = capsys.readouterr().err
    assert "2 of 3 seeds completed: top-1 last 91.00 ± 1.41 %, best 91.00 ± 1.41 % (mean ± standard deviation)" in text
    assert f"1m15 from the command to the end of the last run, in {tmp_path}" in text.replace("\n", "")
    assert "rbp compare preset=digits" in text and f"rbp resume {short_id(runs['three'].id)}" in text


def test_runs_of_several_experiments_that_were_resumed_together_have_no_mean(tmp_path, write_run, capsys):
    for name, experiment in (("one", "a" * 64), ("two", "b" * 64)):
        write_run(tmp_path, name, experiment=experiment, last=Scores(0.9, epoch=3), best=Scores(0.9, epoch=2))
    print_results([entry.run for entry in list_runs(tmp_path)], [Verdict("completed", "")] * 2)
    text = capsys.readouterr().err
    assert "2 of 2 runs completed\n" in text and "standard deviation" not in text
