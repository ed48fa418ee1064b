"""`ls` with queries, and what `rbp runs` does with finished runs."""

import csv
import io
import json
import re
import sys
from contextlib import closing

import pytest

from rbp_engine.run import track
from rbp_engine.run.files.layout import RunDirectory
from tests.run_files import change_identity, end_run, write_manifest
from tests.terminal import Terminal


@pytest.fixture
def rbp(rbp_here):
    return rbp_here


@pytest.fixture
def runs(rbp):
    for seed in (1, 2):
        end_run(rbp.runs, f"rate-{seed}", f"seed={seed}", "run.tags=['paper']", curve=(0.9 + seed / 100,))
        end_run(rbp.runs, f"bptt-{seed}", f"seed={seed}", "method=bptt", curve=(0.9 + seed / 50,))
    end_run(
        rbp.runs, "20260101-120000-digits-rate_m-0a1b", "T=6", "run.name=a name that is far too long for a small table",
        curve=(0.51, 0.5), status="failed", reason="CUDA out of memory: tried to allocate 2 GiB", epoch=137, epochs=300,
    )  # fmt: skip
    return rbp.runs


def test_a_users_network_is_shown_beside_the_name_of_the_preset(rbp_here, monkeypatch):
    (rbp_here.folder / "nets.py").write_text("def net():\n    pass\n")
    monkeypatch.chdir(rbp_here.folder)
    end_run(rbp_here.runs, "plain")
    end_run(rbp_here.runs, "mine", "arch=nets.py:net", curve=(0.33,))
    assert [entry["label"] for entry in rbp_here.json("ls")] == ["digits", "digits · nets.py:net"]
    for words in (("ls",), ("show", "mine"), ("compare", "plain", "mine")):
        assert "digits · nets.py:net" in rbp_here(*words).stdout
    assert ids(rbp_here, "run='digits · nets.py:net'") == ids(rbp_here, "nets.py") == ["mine"]
    assert ids(rbp_here, "preset=digits") == ["plain", "mine"]


def test_tags_without_a_sign_are_read_as_runs_and_the_error_says_so(rbp_here, write_run):
    write_run(rbp_here.runs, "one")
    assert rbp_here("runs", "tag", "one", "base", "+x", "paper", code=2).stderr == (
        "error no run is called 'base'; to add tags, write a + before each: rbp runs tag one +base +x +paper\n"
    )
    assert rbp_here("runs", "tag", "two", "base", code=2).stderr.startswith("error no run 'two' in ")
    assert rbp_here.json("runs", "tag", "one") == [{"id": "one", "tags": []}]


def ids(rbp, *words):
    return [entry["id"] for entry in rbp.json("ls", *words)]


def test_the_folder_of_the_runs_can_be_named_before_the_command_too(rbp, runs, tmp_path):
    end_run(tmp_path / "elsewhere", "far")
    assert "far" in rbp("--runs-dir", "elsewhere", "ls").stdout
    assert "far" in rbp("ls", "--runs-dir", "elsewhere").stdout
    assert "rate-1" in rbp("--runs-dir", "elsewhere", "ls", "--runs-dir", str(runs)).stdout


def test_ls_takes_a_query_and_sorts(rbp, runs):
    assert ids(rbp, "acc>0.9 T=4 method:rate_m tag:paper not:bptt") == ["rate-1", "rate-2"]
    assert ids(rbp, "T=4", "--sort", "best") == ["bptt-2", "bptt-1", "rate-2", "rate-1"]
    assert ids(rbp, "T=4", "--sort", "-best")[0] == "rate-1"
    assert ids(rbp, "--sort", "id")[:2] == ["20260101-120000-digits-rate_m-0a1b", "bptt-1"]
    shown = rbp("ls", "status:failed")
    assert "0a1b" in shown.stdout and "rate-1" not in shown.stdout and "1 of 5 runs" in shown.stderr
    nothing = rbp("ls", "seed=7")
    assert nothing.stdout == "" and "0 of 5 runs" in nothing.stderr


def test_a_query_may_begin_with_a_minus(rbp, runs):
    assert ids(rbp, "-tag:paper") == [one for one in ids(rbp) if one not in ids(rbp, "tag:paper")] != []
    for words in ("T=4 -tag:paper or T=6", "-tag:paper or seed=2", "method=bptt -seed=1 or -T=4"):
        assert ids(rbp, *words.split()) == ids(rbp, words) != ids(rbp)
    assert ids(rbp, "-T=99", "-n", "1", "--sort", "-created") == ids(rbp, "-n", "1", "--sort", "-created")
    assert "no such option" in rbp("ls", "-x", code=2).stderr.lower()


def test_an_invalid_query_gives_one_message_and_exit_code_2(rbp, runs):
    done = rbp("ls", "T=4 acz>0.9", code=2)
    assert done.stdout == "" and len(done.stderr.splitlines()) == 1
    assert "character 5" in done.stderr and "Did you mean 'acc'?" in done.stderr
    assert "no field 'bset'" in rbp("ls", "--sort", "bset", code=2).stderr


@pytest.mark.parametrize("width", [80, 200])
def test_the_list_fits_the_terminal_and_shows_more_on_a_wide_one(rbp, runs, width):
    rbp.environment["COLUMNS"] = str(width)
    lines = rbp("ls").stdout.splitlines()
    assert max(map(len, lines)) <= width
    assert lines[0].split()[:2] == ["run", "id"]
    failed = next(line for line in lines if "0a1b" in line)
    assert "✗ failed" in failed and "137/300" in failed and "50.00" in failed and "51.00" in failed
    assert ("✗ failed: CUDA out of memory: tried to allocate 2 GiB" in failed) == (width == 200)
    assert ("paper" in " ".join(lines)) == (width == 200)


def test_precision_and_processes_are_columns_if_they_differ_and_query_fields(rbp, runs):
    rbp.environment["COLUMNS"] = "200"
    assert not {"precision", "processes"} & set(rbp("ls").stdout.split())
    end_run(rbp.runs, "low", "train.precision=bf16")
    run_json = rbp.runs / "rate-1" / "run.json"
    run_json.write_text(json.dumps(json.loads(run_json.read_text()) | {"resources": {"processes": 2}}))
    head, *lines = rbp("ls").stdout.splitlines()
    assert "seed precision processes" in head
    columns = {line.split()[1]: line.split()[5:7] for line in lines}
    assert (columns["rate-1"], columns["low"]) == (["fp32", "2"], ["bf16", "1"])
    assert ids(rbp, "precision:bf16") == ["low"] and ids(rbp, "processes=2") == ["rate-1"]
    assert "in one of 2 processes" in rbp("show", "rate-1").stdout
    rbp.environment["COLUMNS"] = "80"
    narrow = rbp("ls")
    assert max(map(len, narrow.stdout.splitlines())) <= 80 and "no room for precision, processes" in narrow.stderr


@pytest.fixture
def sweep(rbp):
    """Three learning rates of digits, and one that has failed."""
    for number, lr in enumerate((0.01, 0.05, 0.3)):
        end_run(rbp.runs, f"lr-{lr}", f"lr={lr}", curve=(0.8 + number / 20,))
    nothing = {"status": "failed", "reason": "the loss is not finite", "last": {}, "best": {}}
    end_run(rbp.runs, "lr-9", "lr=9", **nothing)
    return rbp.runs


def test_columns_of_any_field_are_chosen_by_the_names_of_queries(rbp, sweep):
    head, first, *_ = rbp("ls", "--columns", "optim.momentum,best,data.args.path,processes").stdout.splitlines()
    found = dict(zip(head.replace("best %", "best").replace("last %", "last").split(), first.split(), strict=False))
    assert (found["momentum"], found["path"], found["best"], found["processes"]) == ("0.9", "–", "80.00", "1")
    assert "lr" not in found
    crowded = rbp("ls", "--columns", "lr,batch,train.log_every,optim.weight_decay,train.checkpoint_every,neuron.decay")
    assert max(map(len, crowded.stdout.splitlines())) <= 80 and "no room for" in crowded.stderr
    assert "no room" not in rbp("ls", "--columns", "tags").stderr  # none has any
    for name, meant in (("momentum", "optim.momentum"), ("optim.momntum", "optim.momentum")):
        said = " ".join(rbp("ls", "--columns", name, code=2).stderr.replace("│", "").split())
        assert f"'{name}'. Did you mean '{meant}'" in said


def test_an_id_is_shown_whole_however_many_columns_are_asked_for(rbp, sweep):
    (rbp.runs / "lr-9").rename(rbp.runs / "nightoflrnine")
    change_identity(RunDirectory(rbp.runs / "nightoflrnine"), id="nightoflrnine")
    assert "nightoflrnine" in rbp("ls", "--columns", "lr,batch,train.log_every,optim.weight_decay").stdout


def test_settings_stand_in_json_and_csv_by_their_dotted_names(rbp, sweep):
    assert [entry["settings"] for entry in rbp.json("ls")] == [{"optim.lr": lr} for lr in (0.01, 0.05, 0.3, 9)]
    (entry,) = rbp.json("ls", "lr=0.05", "--columns", "T,optim.momentum,best,data.args.path")
    assert entry["settings"] == {"method.timesteps": 4, "optim.momentum": 0.9, "data.args.path": None}
    text = rbp("runs", "csv", "lr-0.05", "--columns", "lr,optim.name,data.args.path").stdout
    for row in csv.DictReader(io.StringIO(text)):
        assert (row["optim.lr"], row["optim.name"], row["data.args.path"]) == ("0.05", "sgd", "")
    assert "no field of presets" in rbp("runs", "csv", "lr-0.05", "--columns", "best", code=2).stderr


def test_tags_and_a_note_show_in_lists_and_queries(rbp, runs):
    (tagged,) = rbp.json("runs", "tag", "rate-1", "+kept", "+fresh", "-paper")
    assert tagged == {"id": "rate-1", "tags": ["kept", "fresh"]}
    rbp("runs", "tag", "status:failed", "rate-1", "+h", "-fresh")
    assert ids(rbp, "tag=h") == ["rate-1", "20260101-120000-digits-rate_m-0a1b"]
    assert rbp("runs", "tag", "rate-1").stdout == "rate-1  kept h\n"
    rbp("runs", "note", "rate-1", "the first", "with cutout")
    assert rbp("runs", "note", "rate-1").stdout == "the first with cutout\n"
    assert ids(rbp, "note:CUTOUT") == ["rate-1"]
    shown = rbp("show", "rate-1").stdout
    assert "kept h" in shown and "the first with cutout" in shown
    assert rbp.json("show", "rate-1")["summary"]["tags"] == ["kept", "h"]
    assert "RUN" in rbp("runs", "tag", "-h").stdout
    assert "rbp runs tag rate-1 +foo" in rbp("runs", "tag", "rate-1", "foo", code=2).stderr
    for words in (("rate-1", "+two words"), ("+kept",), ("rate-1", "--jsn"), ("nothing", "+x")):
        rbp("runs", "tag", *words, code=2)


def test_runs_go_to_the_trash_and_come_back(rbp, runs):
    moved = rbp("runs", "rm", "rate-1", "method:bptt").stderr
    assert "rbp runs restore rate-1" in moved
    assert ids(rbp) == ["rate-2", "20260101-120000-digits-rate_m-0a1b"]
    assert {entry["id"] for entry in rbp.json("runs", "restore")} == {"rate-1", "bptt-1", "bptt-2"}
    assert "rate-1" in rbp("runs", "restore").stdout
    rbp("runs", "restore", "rate-1", "bptt-2")
    assert len(ids(rbp)) == 4
    assert "--yes" in rbp("runs", "rm", "--trash", code=2).stderr
    assert "deleted 1 run" in rbp("runs", "rm", "--trash", "--yes").stderr
    assert "rbp runs restore" in rbp("runs", "restore", "bptt-1", code=2).stderr
    assert rbp("runs", "restore").stdout == ""
    rbp("runs", "rm", "rate-1", "--now", "-y")
    assert rbp.json("runs", "restore") == [] and "rate-1" not in ids(rbp)


@pytest.mark.parametrize("width", [80, 200])
def test_compare_groups_by_experiment_and_fits_the_screen(rbp, runs, width):
    rbp.environment["COLUMNS"] = str(width)
    done = rbp("compare", "rate-1", "rate-2", "method:bptt", "--baseline", "bptt-1")
    shown = done.stdout
    assert max(map(len, shown.splitlines())) <= width
    headings, bptt, rate, *_ = shown.splitlines()
    assert "◆ baseline: digits · BPTT · T=4\n" in done.stderr
    assert headings.split()[:2] == ["method", "n"] and "peak GiB" in headings
    assert bptt.split()[:5] == ["1◆", "BPTT", "2", "93.00", "±"] and "1.0" in bptt
    # A difference of −1 and one of −2 points: t is 12.7 with one degree of freedom, times 0.71 / √2.
    assert rate.split()[:3] == ["2", "rate_M", "2"] and "91.50 ± 0.71" in rate and "−1.50 ± 6.35" in rate
    assert max(map(len, rbp("compare", "method:bptt", "rate-1", "--each-run").stdout.splitlines())) <= width


def test_csv_goes_to_stdout_or_into_a_file(rbp, runs, tmp_path):
    rows = list(csv.DictReader(io.StringIO(rbp("runs", "csv", "rate-1").stdout)))
    assert [(row["kind"], row["step"], row["top1"]) for row in rows] == [
        ("metrics", "10", "0.91"), ("validation", "10", "0.91"),
    ]  # fmt: skip
    assert rbp("runs", "csv", "rate-1", "-o", "out.csv").stdout == ""
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
    assert "cannot write" in rbp("runs", "csv", "rate-1", "-o", "no/where.csv", code=2).stderr
    command = [sys.executable, "-c", "from rbp_tui.cli import main; main()", "runs", "csv", "rate-1"]
    with closing(Terminal(command, rbp.environment, rbp.folder)) as terminal:
        terminal.read_until(lambda: b"-o FILE writes this table into a file" in terminal.output)


def test_the_steps_of_a_budget_are_told_as_such(rbp):
    end_run(rbp.runs, "budget", "guard.max_steps=15", status="stopped", epochs=9, steps=15, steps_per_epoch=10)
    end_run(rbp.runs, "whole", curve=(0.5, 0.9), steps_per_epoch=10)
    told = [re.search("progress +(.*)", rbp("show", run).stdout)[1].rstrip() for run in ("budget", "whole")]
    assert told == ["epoch 1 of 9, step 10 of 15, its budget", "epoch 2 of 2, step 20 of 20"]


def test_the_newest_or_the_first_of_an_order_are_listed(rbp, runs):
    order = ids(rbp)
    assert ids(rbp, "-n", "2") == order[-2:]
    assert ids(rbp, "-n", "2", "--sort", "best") == ids(rbp, "--sort", "best")[:2] == ["bptt-2", "bptt-1"]
    assert "2 of 4 that fit, of 5 runs" in rbp("ls", "status:completed", "-n", "2").stderr
    rbp("ls", "-n", "0", code=2)


def test_archived_runs_are_out_of_the_way_and_count_in_reports(rbp, runs):
    reported = rbp("report", "--json").stdout
    assert "rbp runs archive --undo bptt-1" in rbp("runs", "archive", "bptt-1", "method:bptt").stderr
    assert "in the archive already" in rbp("runs", "archive", "bptt-1").stderr
    assert "bptt-1" not in ids(rbp) and ids(rbp, "archived") == ids(rbp, "--all", "bptt") == ["bptt-1", "bptt-2"]
    assert "3 of 5 runs; 2 in the archive: rbp ls archived" in rbp("ls").stderr
    assert rbp.json("ls", "archived")[0]["archived"] is True
    assert rbp("report", "--json").stdout == reported
    assert {"bptt-1", "bptt-2"} <= set(rbp.json("figure", "cost", "-o", "cost.svg")["runs"])
    assert len(rbp.json("compare", "T=4")["groups"]) == 2
    rbp("runs", "tag", "method:bptt", "+x", code=2)
    assert "bptt-1 is listed again" in rbp("runs", "archive", "--undo", "archived=true").stderr
    assert "not in the archive" in rbp("runs", "archive", "--undo", "bptt-1").stderr
    assert len(ids(rbp)) == 5


def test_rules_that_could_not_be_checked_are_counted_by_what_they_need(rbp, runs):
    *_, line = rbp("show", "rate-1", "--why").stdout.splitlines()
    in_all, *counts = map(int, re.findall(r"(\d+) (?:of|needs?) ", line))
    assert in_all == sum(counts) and "3 need probes.health=true" in line
    with track({"lr": 0.1}, run_id="theirs", runs_dir=runs) as run:
        run.log(loss=0.5)
    *_, line = rbp("show", "theirs", "--why").stdout.splitlines()  # rbp's settings are not what is missing
    assert line.endswith("not checked: 19 of 19 rules; 14 need a run of rbp, 5 need an evaluation after an epoch")


def test_runs_are_sorted_by_size_and_checkpoints_go_by_a_rule(rbp, runs):
    for step in (1, 2):
        folder = runs / "rate-1" / "checkpoints" / f"step-{step:08d}"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(bytes([step]) * 2**20)
        write_manifest(folder)
    assert ids(rbp, "size>2MiB") == ["rate-1"] and "MiB" in rbp("ls", "--columns", "size").stdout
    assert ids(rbp, "--sort", "-size")[0] == "rate-1" == ids(rbp, "--sort", "size")[-1]
    shown = rbp("runs", "prune", "T=4")
    assert "step-00000001" in shown.stdout and "1 MiB in 1 run; --yes removes that" in shown.stderr
    saved = runs / "rate-1" / "checkpoints"
    assert len(list(saved.iterdir())) == 2
    assert "removed" in rbp("runs", "prune", "T=4", "--yes").stderr
    assert [path.name for path in saved.iterdir()] == ["step-00000002"]
    assert "nothing to remove of 4 runs" in rbp("runs", "prune", "T=4", "--yes").stderr


def test_on_80_columns_only_names_of_runs_are_cut_in_the_table_of_what_goes(rbp, runs):
    rbp.environment["COLUMNS"] = "80"
    end_run(runs, "large", "seed=3", "run.name=a name that is far too long for a small table")
    folders = [runs / "large" / "checkpoints" / name for name in ("step-00000001", "step-00000002", "best")]
    folders += [runs / "large" / part for part in ("tensorboard", "ranks/0")]
    for number, folder in enumerate(folders):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_bytes(bytes([number]) * 852 * 2**10)
        write_manifest(folder)
    table = rbp("runs", "prune", "large", "--keep", "none").stdout
    assert [word.strip(",") for word in table.split() if "0000" in word] == ["step-00000001", "step-00000002"]
