"""`rbp report` and `rbp figure` as a user runs them: words, files, exit codes."""

import itertools
import json
from functools import partial

import pytest

from rbp_engine.run import track
from rbp_engine.vocabulary import NETWORKS
from tests.run_files import end_run, end_runs_of_a_cell

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
    return end_runs_of_a_cell(tmp_path / "runs")


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
    told = "no room for ms/step, MiB: 110 columns or --format markdown show them"
    assert told in " ".join(" ".join(lines).split())
    rbp.func.environment["COLUMNS"] = "110"
    wide = rbp("report").stdout
    assert "ms/step" in wide.splitlines()[0] and "no room" not in wide


def test_a_margin_is_in_points_and_above_nothing(rbp, tmp_path):
    runs = [
        end_run(tmp_path / "runs", None, f"method={method}", f"seed={seed}", curve=(top1 + seed * step,))
        for method, top1, step in (("bptt", 0.95, 0.001), ("rate_m", 0.952, 0.0011))
        for seed in (1, 2, 3)
    ]
    rows = json.loads(rbp("report", "--margin", "1", "--json").stdout)["rows"]
    assert [row["verdict"] for row in rows] == [None, "equivalent, different"]
    assert "equivalent" in rbp("compare", *(run.id for run in runs), "--margin", "0.5").stdout
    for words in (("report", "--margin", "0"), ("compare", runs[0].id, "--margin", "-1")):
        done = rbp(*words)
        assert done.returncode == 2 and "percentage points above 0" in " ".join(done.stderr.split())
    assert "what is judged is the difference over seeds" in " ".join(
        rbp("compare", runs[0].id, "--each-run", "--margin", "1").stderr.replace("│", " ").split()
    )


def test_the_letters_of_settings_are_in_order_in_each_block_of_the_table(rbp, tmp_path):
    for words in (["T=2", "lr=0.2"], ["T=4", "lr=0.1"], ["T=4", "lr=0.2"]):
        end_run(tmp_path / "runs", None, *words, curve=(0.9,))
    lines = [line.split() for line in rbp("report").stdout.splitlines()]
    assert [line[3:5] for line in lines[1:4]] == [["a", "2"], ["a", "4"], ["b", "4"]]
    assert lines[5:7] == [["a", "optim.lr", "=", "0.2"], ["b", "optim.lr", "=", "0.1"]]


def test_runs_left_out_for_one_reason_share_a_line(rbp, stopped, runs):
    for seed in (7, 8):
        end_run(runs, None, f"seed={seed}", curve=(0.9, 0.9), status="stopped")
    lines = rbp("report").stderr.splitlines()
    assert (
        "left out 3 runs" in lines[0]
        and len(lines) == 2
        and " ".join(lines[1].split()).startswith("3 runs, one of them ")
    )


def test_json_is_one_document_with_the_runs_left_out(rbp, stopped, runs):
    done = rbp("report", "--json")
    document = json.loads(done.stdout)
    assert document["left_out"] == [{"id": stopped.id, "reason": "stopped"}]
    assert [(row["method"], row["runs"]) for row in document["rows"]] == [("rate_m", 1), ("rate_m", 3), ("bptt", 1)]
    assert document["rows"][1]["last"] == {"mean": pytest.approx(0.955), "std": pytest.approx(0.005), "count": 3}
    assert document["runs_directory"] == str(runs)
    assert done.stderr == ""


@pytest.mark.usefixtures("runs")
def test_a_report_covers_the_runs_that_fit_a_query(rbp):
    words = ["method=bptt", "-T=2"]
    every, some = (json.loads(rbp("report", *chosen, "--json").stdout)["rows"] for chosen in ([], words))
    assert 0 < len(some) < len(every) and {row["method"] for row in some} == {"bptt"}
    assert "fits 'T=99'" in rbp("report", "T=99", code=2).stderr
    assert "no field 'metod'" in rbp("report", "metod=bptt", code=2).stderr


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
    assert not loaded & {"torch", "torchvision", "spikingjelly", "scipy"}
