"""What `rbp show` says of a run, by its files."""

from rbp_engine.run import track
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.runs.show_view import everything


def shown(run, capsys):
    """The rows by their names; what goes on in the next line is left out."""
    everything(RunDirectory(run.folder), as_json=False)
    rows = (line.partition("  ") for line in capsys.readouterr().out.splitlines() if line[:1].strip())
    return {name: text.strip() for name, _, text in rows}


def test_of_another_program_all_that_was_logged_is_shown_and_nothing_that_was_not(tmp_path, capsys):
    with track(runs_dir=tmp_path) as run:
        for step in range(3):
            run.log(loss=1 / (step + 1), grad_norm=2.0 + step)
        run.log(f1=0.25)
    rows = shown(run, capsys)
    assert rows["logged"] == "train/loss 0.333   grad_norm 4.000   f1 0.250" and rows["progress"] == "step 3"
    assert not {"last", "best", "trained", "memory"} & rows.keys()
    assert not [text for text in rows.values() if "–" in text or "?" in text]


def test_evaluations_of_another_program_are_what_it_has_reached(tmp_path, capsys):
    with track(runs_dir=tmp_path, epochs=2, steps_per_epoch=1) as run:
        for epoch in (1, 2):
            run.log(lr=0.1, loss=1.0)
            run.log({"val/top1": 0.9 - epoch / 10, "val/top5": 0.95}, epoch=epoch)
    rows = shown(run, capsys)
    assert (rows["last"], rows["best"]) == ("70.00 % top-1, 95.00 % top-5", "80.00 % top-1 at epoch 1")
    assert (rows["progress"], rows["logged"]) == ("epoch 2 of 2, step 2 of 2", "train/loss 1.000   lr 0.100")
