"""`rbp train`: what it prints, what it leaves behind, and how it ends."""

import json
import os
import re
import signal
import sys
import time
from contextlib import closing

import pytest
from idle import IDLE

from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.cli.train.following import follow
from rbp_tui.cli.train.plain_lines import PlainLines
from tests.real import warm_python
from tests.run_files import end_run
from tests.terminal import Terminal

QUICK = ("digits", "T=1", "epochs=2", "batch=256")
LONG = ("digits", "T=1", "epochs=5000", "batch=256", *IDLE)


def test_without_a_terminal_it_prints_a_line_per_epoch_the_accuracy_the_folder_times_and_next_commands(finished):
    rbp, done = finished
    lines = done.stdout.splitlines()
    assert [line for line in lines if "epoch 1:" in line]
    assert [line for line in lines if "epoch 2:" in line]
    assert "last" in done.stderr
    assert "best" in done.stderr
    assert "rbp ls" in done.stderr
    assert "rbp train digits T=1 epochs=2 batch=256 method=bptt" in " ".join(done.stderr.split())
    assert f"folder: {rbp.runs / 'mine'}\n" in done.stderr or "folder: runs/mine\n" in done.stderr
    assert re.search(
        r"\d+s from the command to the end: \d+s of training steps, the rest to start", " ".join(done.stderr.split())
    )


def test_json_prints_the_events_of_the_run_and_nothing_else(rbp):
    done = rbp("train", *QUICK, "--json")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    (file,) = rbp.runs.glob("*/events/rank0.jsonl")
    assert done.stdout == file.read_text()
    assert events[0]["kind"] == "run_start"
    assert events[-1]["kind"] == "run_end"
    assert done.stderr == ""


def test_a_detached_run_is_announced_before_anything_is_read(rbp_here):
    said = rbp_here("train", "nosuch", "--detach", code=2).stderr
    assert re.match(r"preparing it; .*\nerror .*nosuch", said)
    assert rbp_here("train", "nosuch", code=2).stderr.startswith("error ")


def test_a_detached_run_goes_on_and_a_log_says_at_every_interval_where_it_is(rbp, capsys):
    # Batches of two: an epoch of hundreds of steps, during which nothing else would be said.
    end_run(rbp.runs, "there", "batch=2", "epochs=50", curve=(0.9,) * 50)
    done = rbp("train", "digits", "batch=2", "epochs=50", "--detach", "--json")
    assert done.stderr.splitlines()[1] == "seed 1 is completed already: there"
    printed = json.loads(done.stdout)
    assert (printed["status"], printed["preset"]) == ("running", "digits")
    run = RunDirectory(rbp.runs / printed["id"])
    deadline, said = time.monotonic() + 60, ""

    def leave():
        nonlocal said
        said += capsys.readouterr().out
        if len(re.findall(r"epoch \d+/50, step \d+/719, .*loss [\d.]+, [\d\u202f]+ samples/s, ETA ", said)) >= 2:
            raise InterruptedError
        assert time.monotonic() < deadline, said

    with pytest.raises(InterruptedError):
        follow([run], PlainLines(several=False, every_s=0.5), tick=leave)
    assert rbp.json("stop", run.id)["status"] == "stopped"


def test_a_dry_run_creates_nothing_and_prints_preset_and_command(rbp_here):
    printed = rbp_here.json("train", "digits", "T=3", "--dry-run")
    assert printed["preset"]["method"]["timesteps"] == 3
    assert "rbp_engine.train.worker" in printed["command"]
    assert not rbp_here.runs.exists()


def test_a_run_is_repeated_by_its_name_with_the_changes_that_are_given(finished):
    rbp, _ = finished
    printed = rbp.json("train", "--like", "mine", "lr=0.05", "--nproc", "2", "--dry-run")
    preset = printed["preset"]
    assert (preset["optim"]["lr"], preset["train"]["epochs"], preset["method"]["timesteps"]) == (0.05, 2, 1)
    assert "takes the place of" in rbp("train", "digits", "--like", "mine", code=2).stderr
    assert "no run 'other'" in rbp("train", "--like", "other", code=2).stderr


@pytest.mark.parametrize(("gpus", "why"), [("7", "there is no NVIDIA card here"), ("all", "--gpus all: expected auto")])
def test_a_dry_run_says_that_its_devices_are_not_here(rbp_here, gpus, why):
    done = rbp_here("train", "digits", "--gpus", gpus, "--dry-run")
    assert f"here it would not run: {why}" in " ".join(done.stderr.split())


@pytest.mark.parametrize("words", ["train --dry-run", "train --slurm", "sweep --slurm"])
def test_options_that_only_print_warn_about_missing_data_and_exit_with_0(rbp_here, words):
    command, option = words.split()
    done = rbp_here(command, "cifar10-resnet18", option)
    for line in ("  looked for: cifar-10-batches-py", "  to get it: `rbp data fetch cifar10`"):
        assert f"\n{line}" in done.stderr
    assert "cifar-10" not in done.stdout
    assert "not here" not in rbp_here(command, "digits", option).stderr


def test_a_run_without_its_data_is_not_made_and_says_what_was_looked_for_where_and_how_to_get_it(rbp_here):
    done = rbp_here("train", "cifar10-resnet18", code=3)
    lines = ["error the data set 'cifar10' is not here", "  looked for: cifar-10-batches-py/ with data_batch_1 to "]
    lines += [f"  looked in: {rbp_here.folder}/data/cifar-10-batches-py\n", "  to get it: `rbp data fetch cifar10`"]
    assert done.stdout == "" and [line for line in lines if f"\n{line}" not in f"\n{done.stderr}"] == []
    assert not rbp_here.runs.exists()


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("--epochs", "3"), "epochs=3"),
        (("--batch-size=32",), "data.batch_size=32"),
        (("--lr", "--json"), "lr=VALUE"),
        (("-lr=0.1",), "lr=0.1"),
        (("-T", "6"), "T=6"),
    ],
)
def test_a_setting_given_as_an_option_is_corrected(rbp_here, words, meant):
    assert meant in " ".join(rbp_here("train", "digits", *words, code=2).stderr.split())
    assert not rbp_here.runs.exists()


def test_a_failed_run_gives_exit_code_1_and_prints_the_reason(rbp):
    done = rbp("train", "digits", "T=1", "lr=1e30", code=1)
    assert "not finite" in done.stdout + done.stderr
    assert "rbp train digits T=1 lr=0.1 (a resume would fail the same way)" in done.stderr
    assert "rbp resume" not in done.stderr
    shown = " ".join(rbp("show", "last").stdout.split())
    assert "rbp train --like " in shown and "lr=0.1 (a resume" in shown and "rbp resume" not in shown
    assert (rbp.summary()["status"], rbp.summary()["cause"]) == ("failed", "non_finite")


@pytest.mark.parametrize(
    ("number", "code", "status"), [(signal.SIGINT, 4, "stopped"), (signal.SIGTERM, 5, "preempted")]
)
def test_without_a_terminal_a_signal_ends_the_run_with_a_checkpoint(rbp, number, code, status):
    process = rbp.start("train", *LONG)
    rbp.wait_for_step()
    process.send_signal(number)
    assert process.wait(60) == code
    assert rbp.summary()["status"] == status
    assert list(rbp.runs.glob("*/checkpoints/step-*/manifest.json"))


# The terminal sends it signals, and its workers are forks as those of the tests are.
OF_A_TERMINAL = f"""\
import fcntl, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
{warm_python.for_others()}
from rbp_tui.cli import main
main()
"""


def at_a_terminal(rbp, *words, keys):
    """The exit code of `rbp` at a terminal, where `keys` are typed: a list of (text to wait for, text to type)."""
    environment = rbp.environment | {"TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
    with closing(Terminal([sys.executable, "-c", OF_A_TERMINAL, *words], environment, rbp.folder)) as terminal:
        for text, typed in keys:
            terminal.read_until(lambda text=text: text in terminal.output, 90)
            terminal.output = b""
            os.write(terminal.master, typed)
        terminal.read_until(terminal.ended, 90)
        return terminal.process.returncode


def test_at_a_terminal_ctrl_c_asks_what_to_do_and_in_watch_only_leaves(rbp):
    keys = [
        (b"epoch 1", b"\x03"),
        (b"go on watching", b"x"),
        (b"", b"\n"),
        (b"epoch", b"\x03"),
        (b"go on watching", b"l"),
    ]
    code = at_a_terminal(rbp, "train", *LONG, keys=keys)
    assert code == 0
    assert rbp.summary()["status"] == "running"
    code = at_a_terminal(rbp, "watch", "last", keys=[(b"epoch", b"\x03")])
    assert code == 0
    assert rbp.summary()["status"] == "running"
    rbp("stop", "last")


# They wait for words that only the question has: the hint below the chart has the others.
@pytest.mark.parametrize(
    ("answer", "code", "status"),
    [
        ((b"go on watching", b"\x03"), 4, "stopped"),
        ((b"go on watching", b"k"), 1, "killed"),
    ],
)
def test_at_a_terminal_a_second_ctrl_c_stops_and_saves_and_k_kills(rbp, answer, code, status):
    left = at_a_terminal(rbp, "train", *LONG, keys=[(b"epoch 1", b"\x03"), answer])
    assert (left, rbp.summary()["status"]) == (code, status)


def test_at_a_terminal_several_runs_form_a_table_and_l_leaves_them_running(rbp, write):
    (rbp.folder / ".config" / "rbp").mkdir(parents=True)
    write(".config/rbp/machine.toml", "cpu_slots = 1\n")
    words = ("train", *LONG, "--seeds", "1,2,3")
    code = at_a_terminal(rbp, *words, keys=[(b"queued", b"\x03"), (b"go on watching", b"l")])
    assert code == 0
    statuses = [one["status"] for one in rbp.summaries()]
    assert len(statuses) == 3 and statuses.count("queued") >= 2
    rbp("stop", "status:queued")


def test_the_small_spikformer_learns(rbp):
    """Rate-based backpropagation through attention, from the command to the accuracy, in 45 steps."""
    rbp("train", "digits-spikformer", "epochs=1", "T=2", "batch=32", "optim.warmup_epochs=0")
    found = rbp.summary()
    assert (found["method"], found["status"]) == ("rate_m", "completed")
    assert found["last"]["top1"] > 0.5
