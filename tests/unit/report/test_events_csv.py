"""What runs have measured, as a table: what `rbp runs csv` writes."""

import csv

from rbp_engine.report.events_csv import events_csv
from rbp_engine.run import track
from rbp_engine.run.files.events import Metrics, RunStart
from rbp_engine.run.files.layout import RunDirectory
from tests.run_files import tell


def test_the_csv_has_a_line_per_measurement_without_superseded_ones(finish_run):
    run = finish_run("digits", curve=[0.5, 0.8])
    header, *lines = events_csv(run).splitlines()
    assert header.startswith("run,kind,t,attempt,step,epoch,split,weights,samples,loss,top1")
    assert [line.split(",")[1] for line in lines] == ["metrics", "validation"] * 2
    assert all(line.startswith(f"{run.id},") for line in lines)
    tell(run, RunStart(resumed_from="step-00000010", epoch=1), step=10, attempt=2)
    tell(run, Metrics(1, None, 0.9, 0.1), step=15, attempt=2)
    lines = events_csv(run).splitlines()[1:]
    assert [line.split(",")[1] for line in lines] == ["metrics", "validation", "metrics"]
    assert lines[-1].split(",")[3:12] == ["2", "15", "1", "", "", "", "", "0.9", ""]


def test_the_csv_has_the_metrics_that_a_program_logs_of_its_own(tmp_path):
    with track({}, runs_dir=tmp_path) as run:
        run.log(loss=1.0, grad_norm=2.5, spikes=0.5)
        run.log(loss=0.5, grad_norm=float("nan"))
    rows = list(csv.DictReader(events_csv(RunDirectory(run.folder)).splitlines()))
    assert [(row["kind"], row["step"], row["loss"]) for row in rows] == [
        ("metrics", "1", "1.0"), ("probe", "1", ""), ("metrics", "2", "0.5"), ("probe", "2", "")
    ]  # fmt: skip
    assert [(row["own.grad_norm"], row["own.spikes"]) for row in rows] == [("", ""), ("2.5", "0.5"), ("", ""), ("", "")]
