"""A recorded run with a silenced layer, as `rbp show`, `rbp watch` and the dashboard tell of it."""

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import ConsoleDimensions

from rbp_engine.run.history.history_reader import read_alarms, read_history
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import list_runs
from rbp_tui.cli.runs.show import show
from rbp_tui.cli.safe_console import SafeConsole
from rbp_tui.cli.train.picture import picture
from rbp_tui.cli.train.plain_lines import PlainLines
from rbp_tui.cli.train.results import print_result, print_results
from rbp_tui.dashboard.monitor.alerts import alert_text, events_text
from rbp_tui.text.alarm_text import alarm_line

RECORDINGS = Path(__file__).parent / "recordings"
LINE = "neuron3: 100 % of its neurons are silent since epoch 2.2: lower neuron.threshold"


@pytest.fixture
def run(tmp_path, write_run):
    run = write_run(tmp_path, "20260101-000000-digits-rate_m-0001")
    run.events().write_bytes(gzip.decompress((RECORDINGS / "silenced.jsonl.gz").read_bytes()))
    return run


def record_of(run):
    return list_runs(run.path.parent)[0]


def test_the_line_of_an_alarm_says_which_layer_what_since_when_and_what_to_do(run):
    (alarm,) = read_alarms(run)
    assert alarm_line(alarm).startswith(LINE)
    assert alarm_line(replace(alarm, layer="", epoch=float("nan"))).startswith("network: 100 %")
    assert alarm_line(replace(alarm, layer="0.3")).startswith("layer 0.3: 100 %")
    assert f"since step {alarm.step}: " in alarm_line(replace(alarm, epoch=float("nan")))


def test_runs_show_prints_alarms_and_has_them_in_its_json(run, capsys):
    show([run.id], runs_dir=run.path.parent)
    assert LINE[:60] in " ".join(capsys.readouterr().out.split())
    show([run.id], runs_dir=run.path.parent, as_json=True)
    (alarm,) = json.loads(capsys.readouterr().out)["alarms"]
    assert (alarm["rule"], alarm["layer"], alarm["step"]) == ("silent", "neuron3", 50)
    assert alarm["cause"] and alarm["knob"] and alarm["epoch"] == pytest.approx(50 / 23)


def test_the_end_of_several_seeds_and_runs_show_have_the_findings_about_each_run(tmp_path, write_run, capsys):
    seeds = [
        write_run(tmp_path, f"20260101-000000-digits-rate_m-000{seed}", seed=seed, trained_s=3600.0) for seed in (1, 2)
    ]
    seeds[0].events().write_bytes(gzip.decompress((RECORDINGS / "too-many-epochs.jsonl.gz").read_bytes()))
    found = "advice: no more progress since epoch 12 of 60: a shorter run may do as well: train.epochs=15"
    print_results(seeds, [Verdict("completed", "")] * 2)
    assert " ".join(capsys.readouterr().err.split()).count(found) == 1
    show([seeds[0].id], runs_dir=tmp_path)
    assert found.removeprefix("advice: ") in " ".join(capsys.readouterr().out.split())
    show([seeds[0].id], runs_dir=tmp_path, as_json=True)
    shown = json.loads(capsys.readouterr().out)
    assert (shown["alarms"], [one["rule"] for one in shown["findings"]]) == ([], ["no_progress"])


def test_the_end_of_a_run_of_seconds_has_no_advice_about_its_length(tmp_path, write_run, capsys):
    run = write_run(tmp_path, "20260101-000000-digits-rate_m-0001", trained_s=20.0)
    run.events().write_bytes(gzip.decompress((RECORDINGS / "too-many-epochs.jsonl.gz").read_bytes()))
    print_result(run, Verdict("completed", ""))
    assert "advice" not in capsys.readouterr().err
    show([run.id], runs_dir=tmp_path)
    assert "a shorter run may do as well" in " ".join(capsys.readouterr().out.split())


def test_a_log_has_an_alarm_once_when_it_comes(run, capsys):
    view, lines = PlainLines(several=False), run.events().read_bytes().splitlines()
    for line in lines:
        view.lines(record_of(run), [line])
    assert [said[9:] for said in capsys.readouterr().out.splitlines() if "alarm" in said] == [
        f"alarm: {alarm_line(read_alarms(run)[0])}"
    ]


def test_the_end_of_a_followed_run_has_its_alarms(run, capsys):
    print_result(run, Verdict("completed", ""))
    said = capsys.readouterr()
    assert f"why: {LINE[:40]}" in " ".join((said.out + said.err).split())


@pytest.mark.parametrize("size", [(40, 12), (80, 24), (160, 45)])
def test_the_live_picture_has_a_row_for_an_alarm(run, size):
    out = io.StringIO()
    console = SafeConsole(file=out, width=size[0], height=size[1], color_system=None)
    console.print(picture(record_of(run), read_history(run), "", "", ConsoleDimensions(*size)))
    rows = out.getvalue().splitlines()
    assert [row for row in rows if row.startswith(f"! {LINE[:30]}")]
    assert len(rows) < size[1] and max(map(len, rows)) <= size[0]


def test_monitor_shows_the_alarm_before_older_alerts(run):
    history, found = read_history(run), read_alarms(run)
    assert LINE[:60] in alert_text(history.alerts, found).plain
    assert events_text(history, history.alerts, (), found).plain.startswith(f"why\n{LINE[:60]}")
    assert f"usually because: {found[0].cause}" in events_text(history, history.alerts, (), found).plain
    assert "1 more" in alert_text(history.alerts, found * 2).plain
