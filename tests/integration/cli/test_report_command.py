"""`rbp report` and `rbp figure` as a user runs them: words, files, exit codes."""

import itertools
import json
from functools import partial

import pytest

from rbp_engine.run import track
from rbp_engine.vocabulary import NETWORKS
from tests.run_files import end_run

SCRIPT = """\
import atexit, sys
import rbp_tui.cli as cli
from rbp_tui.cli import report
atexit.register(lambda: sys.stderr.write("MODULES " + " ".join(sys.modules)))
cli.main()
"""


@pytest.fixture
def rbp(rbp_here, tmp_path):
    rbp_here.environment |= {"RBP_RUNS": str(tmp_path / "runs"), "COLUMNS": "80"}
    return partial(rbp_here, code=None)


@pytest.fixture
def runs(tmp_path):
    """Three seeds of a cell of the paper, a run with another learning rate, and one of another method."""
    folder = tmp_path / "runs"
    for seed, last in ((1, 0.95), (2, 0.955), (3, 0.96)):
        end_run(folder, None, f"seed={seed}", preset="cifar10-resnet18", curve=(0.96, last))
    end_run(folder, None, "lr=0.05", preset="cifar10-resnet18", curve=(0.91, 0.9))
    end_run(folder, None, "method=bptt", curve=(0.98, 0.97))
    return folder


@pytest.fixture
def stopped(runs):
    return end_run(runs, None, "seed=2", "epochs=15", curve=(0.6, 0.5), status="stopped", epochs=15)


@pytest.mark.usefixtures("runs")
def test_the_table_fits_80_columns_without_breaking_a_cell(rbp):
    done = rbp("report")
    assert done.returncode == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert [" ".join(line.split()) for line in lines[1:4]] == [
        "CIFAR-10 ResNet-18 rate_M a 4 90.00 ± – 91.00 ± –† 95.61 −5.61 1",
        "CIFAR-10 ResNet-18 rate_M b 4 95.50 ± 0.50 96.00 ± 0.00† 95.61 −0.11 3",
        "digits convnet BPTT 4 97.00 ± – 98.00 ± –† – – 1",
    ]
    assert "a  optim.lr = 0.05" in lines and "b  optim.lr = 0.1" in lines
    assert "† the best epoch was chosen on the test set itself" in lines


def test_runs_left_out_for_one_reason_share_a_line(rbp, stopped, runs):
    for seed in (7, 8):
        end_run(runs, None, f"seed={seed}", curve=(0.9, 0.9), status="stopped")
    lines = rbp("report").stderr.splitlines()
    assert "left out 3 runs" in lines[0] and len(lines) == 2 and " ".join(lines[1].split()).startswith("3 runs, as ")


def test_json_is_one_document_with_the_runs_left_out(rbp, stopped, runs):
    done = rbp("report", "--json")
    document = json.loads(done.stdout)
    assert document["left_out"] == [{"id": stopped.id, "reason": "stopped"}]
    assert [(row["method"], row["runs"]) for row in document["rows"]] == [("rate_m", 1), ("rate_m", 3), ("bptt", 1)]
    assert document["rows"][1]["last"] == {"mean": pytest.approx(0.955), "std": pytest.approx(0.005), "count": 3}
    assert document["runs_directory"] == str(runs)
    assert done.stderr == ""


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
        "CIFAR-10 ResNet-18 BPTT 4 95.64 94.15 ± 0.07 no: −1.49 beyond ± 0.64",
        "CIFAR-10 ResNet-18 BPTT 6 96.03 – not measured",
        "CIFAR-10 ResNet-18 rate_M 2 94.75 – not measured",
        "CIFAR-10 ResNet-18 rate_M 4 95.61 95.50 ± 0.50 yes: −0.11 within ± 1.24",
        "CIFAR-10 ResNet-18 rate_M 6 95.90 95.00 ± – undecided: one run",
        "CIFAR-10 ResNet-18 rate_S 4 – 95.00 ± – no published figure",
    ]
    assert "9 cells: 1 reproduced, 1 not reproduced, 2 undecided, 5 not measured" in done.stderr
    rows = json.loads(rbp("paper", "cifar10-resnet18", "--json").stdout)
    assert {(row["method"], row["timesteps"]): row["answer"] for row in rows if row["last"]} == {
        ("bptt", 4): "not reproduced", ("rate_m", 4): "reproduced", ("rate_m", 6): "undecided",
        ("rate_s", 4): "undecided",
    }  # fmt: skip
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


@pytest.mark.usefixtures("runs")
def test_a_report_covers_the_runs_that_fit_a_query(rbp):
    words = ["method=bptt", "-T=2"]
    every, some = (json.loads(rbp("report", *chosen, "--json").stdout)["rows"] for chosen in ([], words))
    assert 0 < len(some) < len(every) and {row["method"] for row in some} == {"bptt"}
    assert "fits 'T=99'" in rbp("report", "T=99", code=2).stderr
    assert "no field 'metod'" in rbp("report", "metod=bptt", code=2).stderr


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


@pytest.mark.parametrize(
    "words", [("report", "--json", "--format", "csv"), ("figure", "cost", "-o", "a.pdf", "--y", "low..")]
)
def test_options_that_contradict_each_other_are_refused(rbp, words):
    done = rbp(*words)
    assert (done.returncode, done.stdout) == (2, "")


def test_without_runs_a_report_says_so(rbp, tmp_path):
    done = rbp("report")
    assert (done.returncode, done.stdout) == (0, "") and "no completed runs" in done.stderr
    assert json.loads(rbp("report", "--json").stdout)["rows"] == []
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("kind", ["curves", "accuracy-vs-T", "cost"])
def test_a_figure_is_drawn_and_stdout_stays_empty(rbp, stopped, tmp_path, kind):
    done = rbp("figure", kind, "-o", "figure.pdf")
    assert (done.returncode, done.stdout) == (0, "")
    assert "drew 5 runs into figure.pdf" in done.stderr and stopped.id in done.stderr
    assert (tmp_path / "figure.pdf").read_bytes().startswith(b"%PDF")


def test_runs_that_say_no_timesteps_are_left_out_of_figures_by_timesteps(rbp, stopped):
    with track({"method": "theirs"}, run_id="plain", runs_dir=stopped.path.parent) as run:
        run.log(test_acc=0.5)
    done = rbp("figure", "cost", "-o", "figure.pdf")
    assert "drew 5 runs into figure.pdf" in done.stderr and "plain it says no T" in " ".join(done.stderr.split())


def test_any_number_of_experiments_and_networks_is_drawn(rbp_in, tmp_path):
    for network, rate in itertools.product(list(NETWORKS)[:9], (0.1, 0.2)):
        end_run(tmp_path / "runs", None, f"arch={network}", f"lr={rate}", curve=(0.95, 0.9))
    done = rbp_in(tmp_path)("figure", "curves", "-o", "figure.pdf")  # in its own process, which the layout aborted
    assert "drew 18 runs into figure.pdf" in done.stderr


def test_incomplete_runs_are_drawn_only_if_asked_for(rbp, stopped):
    named = ("figure", "curves", stopped.id, stopped.id[-4:], "-o", "one.svg")
    assert "no completed runs of these to draw; --include-unfinished" in rbp(*named, code=2).stderr.replace("\n", " ")
    done = rbp(*named, "--include-unfinished", "--json")
    assert json.loads(done.stdout) == {"figure": "one.svg", "runs": [stopped.id], "left_out": []}


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("curves",), "--output"),
        (("curves", "-o", "figure.tiff"), "must end in .pdf, .png or .svg"),
        (("curves", "-o", "nowhere/figure.pdf"), "no folder nowhere"),
        (("curves", "nothing", "-o", "figure.pdf"), "no run 'nothing'"),
        (("curves", "-o", "full.pdf"), "No space left on device"),
        (("cost", "-o", "figure.pdf", "--runs-dir", "empty"), "no completed runs in"),
    ],
)
def test_a_failed_figure_gives_one_message_and_exit_code_2(rbp, tmp_path, words, message):
    (tmp_path / "full.pdf").symlink_to("/dev/full")
    done = rbp("figure", *words)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in " ".join(done.stderr.split()) and "Traceback" not in done.stderr


@pytest.mark.usefixtures("runs")
@pytest.mark.parametrize("words", [("report",), ("figure", "curves", "-o", "figure.png")])
def test_drawing_alone_loads_matplotlib_and_nothing_loads_torch(rbp_here, rbp, words):
    done = rbp_here.python("-c", SCRIPT, *words, check=True)
    loaded = set(done.stderr.partition("MODULES ")[2].split())
    assert "rbp_tui.cli.report" in loaded and ("matplotlib" in loaded) == (words[0] == "figure")
    assert not loaded & {"torch", "torchvision", "spikingjelly", "sklearn", "scipy"}
