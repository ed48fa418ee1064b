"""`rbp paper` as a user runs it."""

import json
from functools import partial

import pytest

from tests.run_files import end_run, end_runs_of_a_cell


@pytest.fixture
def rbp(rbp_here, tmp_path):
    rbp_here.environment |= {"RBP_RUNS": str(tmp_path / "runs"), "COLUMNS": "80"}
    return partial(rbp_here, code=None)


@pytest.fixture
def runs(tmp_path):
    return end_runs_of_a_cell(tmp_path / "runs")


def test_paper_says_for_each_published_cell_whether_our_runs_reproduce_it(rbp, runs):
    for seed in (1, 2):
        end_run(runs, None, "method=bptt", f"seed={seed}", preset="cifar10-resnet18", curve=(0.95, 0.94 + seed / 1000))
    end_run(runs, None, "T=6", preset="cifar10-resnet18", curve=(0.95, 0.95))
    end_run(runs, None, "method=rate_s", preset="cifar10-resnet18", curve=(0.95, 0.95))
    done = rbp("paper", "cifar10-resnet18")
    lines = [" ".join(line.split()) for line in done.stdout.splitlines()]
    assert max(len(line.rstrip()) for line in done.stdout.splitlines()) <= 80
    assert lines[1:] == [
        "CIFAR-10 ResNet-18 BPTT 2 94.93 – not measured",
        "CIFAR-10 ResNet-18 BPTT 4 95.64 94.15 ± 0.07 no: −1.49 ± 0.32",
        "CIFAR-10 ResNet-18 BPTT 6 96.03 – not measured",
        "CIFAR-10 ResNet-18 rate_M 2 94.75 – not measured",
        "CIFAR-10 ResNet-18 rate_M 4 95.61 95.50 ± 0.50 undecided: −0.11 ± 0.84",
        "CIFAR-10 ResNet-18 rate_M 6 95.90 95.00 ± – undecided: one run",
        "CIFAR-10 ResNet-18 rate_S 4 – 95.00 ± – no published figure",
    ]
    assert "9 cells: 1 not reproduced, 3 undecided, 5 not measured" in done.stderr
    rows = json.loads(rbp("paper", "cifar10-resnet18", "--json").stdout)
    assert {(row["method"], row["timesteps"]): row["answer"] for row in rows if row["last"]} == {
        ("bptt", 4): "not reproduced", ("rate_m", 4): "undecided", ("rate_m", 6): "undecided",
        ("rate_s", 4): "undecided",
    }  # fmt: skip
    more = [" ".join(line.split()) for line in rbp("paper", "cifar10-resnet18", "--all").stdout.splitlines()]
    assert set(more) > set(lines) and "CIFAR-10 ResNet-18 rate_S 2 – – not measured" in more
    for question in ((), ("--missing",)):
        done = rbp("paper", *question, "digits")
        assert (done.stdout, done.stderr) == ("", "the paper has no cell of these presets\n")
    assert "--cost changes none" in rbp("paper", "--missing", "--cost").stderr


def test_paper_measures_what_the_missing_runs_would_take(rbp, rbp_here):
    (rbp_here.folder / "presets").mkdir(exist_ok=True)
    (rbp_here.folder / "presets/one.toml").write_text(
        'extends = "digits"\n[train]\nepochs = 1\n'
        '[paper]\nfigures = [{ method = "rate_m", timesteps = 1, top1 = 0.5 }]\n'
    )
    done = rbp("paper", "--cost", "one")
    assert "not measured: 3 × " in done.stdout and "the missing runs of these cells would take" in done.stderr


def test_what_is_missing_is_counted_and_without_its_data_or_in_another_runs_directory_too(rbp):
    short = rbp("paper", "--missing")
    assert short.stdout == "" and len(short.stderr.splitlines()) == 1
    assert "without data here: " in short.stderr and "--all prints their commands" in short.stderr
    elsewhere = rbp("paper", "--missing", "--all", "--runs-dir", "other runs").stdout
    assert elsewhere.splitlines()[0].endswith(" --runs-dir 'other runs'")
    (first, *_) = json.loads(rbp("paper", "--missing", "--json").stdout)
    assert set(first) == {"preset", "method", "timesteps", "seed", "live", "data", "command"}
    done = rbp("paper", "--missing", "cifar10-resnet18")
    lines = done.stdout.splitlines()
    assert lines and all(line.startswith("rbp train cifar10-resnet18 ") for line in lines)
    count = len(lines)
    text = f"{count} runs to train, {count} of them without data here: cifar10 {count} (rbp data list)\n"
    assert text in done.stderr
    assert "no preset is called 'cifar10-resnet1'" in rbp("paper", "--missing", "cifar10-resnet1").stderr
