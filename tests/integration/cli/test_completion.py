"""Completion: what is offered for a line, and real shells, with an `rbp` that cannot load torch."""

import os
import shlex
import sys
from pathlib import Path

import pytest

from rbp_engine.preset import load_preset, resolved_toml
from tests.commands import COMMANDS
from tests.integration.cli import shells

RBP = f"""#!{sys.executable}
import sys
sys.modules.update(dict.fromkeys(("torch", "torchvision", "spikingjelly")))
from rbp_tui.cli import main
main()
"""
RUN = "20261126-020000-digits-rate_m-3f2a"
#: For zsh: `eval` of what Typer makes of the first ran it.
HOSTILE = (r"\$(touch pwned)", r"\`touch pwned`", "'; touch pwned; '", r"\"; touch pwned; \"", "[/]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory, write_run):
    """A folder with `rbp` in it, and runs, of which others have named some."""
    folder = tmp_path_factory.mktemp("completion")
    (folder / "rbp").write_text(RBP)
    (folder / "rbp").chmod(0o755)
    run = write_run(folder / "runs", RUN, label="digits")
    run.preset_toml.write_text(resolved_toml(load_preset("digits", ["optim.lr=0.3"]).preset))
    write_run(folder / "runs", "waits", status="queued", method="bptt", label="mnist")
    for number, name in enumerate(HOSTILE):
        write_run(folder / "runs", f"zz{number}", name=name, status="failed", label=name)
    return folder


@pytest.fixture(scope="module", params=["bash", "zsh"])
def shell(request, folder):
    if not shells.is_there(request.param):
        pytest.skip(f"{request.param} is not installed")
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    environment = {"PATH": path, "HOME": str(folder), "TERM": "dumb", "PYTHONPATH": str(Path(__file__).parents[3])}
    environment["RBP_RUNS"] = str(folder / "runs")
    started = shells.Shell(request.param, folder, environment)
    yield request.param, started
    started.stop()


@pytest.mark.parametrize(
    ("typed", "bash", "zsh"),
    [
        ("rbp train mov", "rbp train moving-digits", None),
        ("rbp train digits T=6 method=ra", "… method=rate_m rate_s", "… method=rate_m method=rate_s"),
        ("rbp watch 3f", "rbp watch 3f2a", None),
        ("rbp train --like 3f2a lr=", "rbp train --like 3f2a lr=0.3", None),
    ],
)
def test_a_line_is_completed_at_the_terminal_of_a_shell(shell, typed, bash, zsh):
    name, here = shell
    expected = bash if name == "bash" else zsh or bash
    assert here.complete(typed) == expected.replace("…", "rbp train digits T=6")


def test_text_of_others_beside_a_run_is_executed_by_no_shell(shell, folder):
    _, here = shell
    words = " ".join(f"zz{number}" for number in range(len(HOSTILE)))
    assert here.complete("rbp watch zz") == f"rbp watch {words}"
    assert not (folder / "pwned").exists()


@pytest.fixture
def offered(rbp_here):
    """What Bash gets as completions for the last word of a line, which it has split at every "="."""
    environment = rbp_here.environment

    def complete(line):
        words = shlex.split(line.replace("=", " = "))
        asked = {"_RBP_COMPLETE": "complete_bash", "COMP_WORDS": "\n".join(words)}
        rbp_here.environment = environment | asked | {"COMP_CWORD": str(len(words) - (not line.endswith(" ")))}
        done = rbp_here()
        rbp_here.environment = environment
        assert done.stderr == ""
        return done.stdout.split()

    return complete


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_can_be_completed(offered, path):
    line = " ".join(("rbp", *path))
    for rest in ("n", "no-such-thing ", "no-such-thing n=", "--epochs 3 n=1 "):
        offered(f"{line} {rest}")
    assert "--help" in offered(f"{line} --")
    if commands := getattr(COMMANDS[path], "commands", None):
        assert set(offered(f"{line} ")) == set(commands)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("rbp train dig", {"digits", "digits-spikformer", "digits-sweep"}),
        ("rbp cost cifar100-r", {"cifar100-resnet18", "cifar100-resnet19"}),
        ("rbp presets show mnist", {"mnist", "mnist5k", "mnist5k-spikformer"}),
        ("rbp presets new wide --from dig", {"digits", "digits-spikformer", "digits-sweep"}),
        ("rbp bench dig", {"digits", "digits-spikformer", "digits-sweep"}),
        ("rbp paper dig", {"digits", "digits-spikformer", "digits-sweep"}),
        ("rbp train digits method.", {"method.name=", "method.timesteps=", "method.loss_scale="}),
        ("rbp train digits method=", {"bptt", "bptt_s", "rate_m", "rate_s", "sltt", "ottt"}),
        ("rbp sweep dig", {"digits", "digits-spikformer", "digits-sweep"}),
        ("rbp sweep digits T=2,4 method=bptt,ra", {"bptt,rate_m", "bptt,rate_s"}),
        ("rbp train digits --detach method=ra", {"rate_m", "rate_s"}),
        ("rbp bench digits train.kernel=e", {"eager"}),
        ("rbp presets show digits data.flip=", {"true", "false"}),
        ("rbp try nets.py:Net neuron.reset=", {"hard", "soft"}),
        # If only one setting matches, its possible values or the preset's own value are offered with it.
        ("rbp train digits train.kern", {"train.kernel=auto", "train.kernel=eager", "train.kernel=compiled"}),
        ("rbp train digits lr", {"lr=0.1"}),
        ("rbp data fetch cifar", {"cifar10", "cifar100", "cifar10_dvs"}),
        ("rbp eval last --weights ", {"last", "best"}),
        ("rbp sweep digits meth", {"method=", "method.name=", "method.timesteps=", "method.loss_scale="}),
        ("rbp bench digits method=rate_m,ra", {"rate_m,rate_s"}),
    ],
)  # fmt: skip
def test_presets_settings_and_data_are_offered(offered, line, words):
    assert set(offered(line)) == words


def test_a_preset_beside_the_code_is_offered_and_no_other_toml_file(offered, tmp_path):
    (tmp_path / "mine.toml").write_text('extends = "digits"\n')
    (tmp_path / "my own; rm -rf ~.toml").write_text('extends = "digits"\n')
    (tmp_path / "mypackage.toml").write_text('[project]\nname = "mypackage"\n')
    assert set(offered("rbp train m")) == {"mine", "mnist", "mnist5k", "mnist5k-spikformer", "moving-digits"}


def test_each_command_is_offered_the_runs_that_it_applies_to(offered, write_run, tmp_path):
    ids = {}
    for status, end in (("completed", "aaaa"), ("running", "bbbb"), ("stopped", "cccc"), ("queued", "dddd")):
        ids[status] = f"20261126-020000-digits-rate_m-{end}"
        write_run(tmp_path / "runs", ids[status], status=status, name=f"my-{status}")
    for line in ("watch", "logs", "show", "compare", "runs rm", "runs csv", "train --like"):
        assert set(offered(f"rbp {line} ")) == {"last", *ids.values()}
    assert set(offered(f"rbp compare {ids['completed']} --baseline ")) == {"last", *ids.values()}
    assert set(offered("rbp runs tag ")) == {"last", *ids.values()}
    for line in ("stop", "stop --now"):
        assert set(offered(f"rbp {line} ")) == {ids["running"], ids["queued"]}
    assert offered("rbp resume ") == [ids["stopped"]]
    assert offered("rbp queue move ") == [ids["queued"]]
    assert offered("rbp watch bb") == ["bbbb"]
    assert offered("rbp watch my-r") == ["my-running"]
    assert offered(f"rbp watch --runs-dir {tmp_path} ") == []


def test_after_like_the_settings_are_those_of_the_run(offered, write_run, tmp_path):
    write_run(tmp_path / "runs", "first").preset_toml.write_text("[optim]\nlr = 0.3\n")
    assert offered("rbp train --like first lr") == ["lr=0.3"]
    assert set(offered("rbp train --like first T=6 method=ra")) == {"rate_m", "rate_s"}


def test_unreadable_files_offer_nothing(offered, tmp_path):
    (tmp_path / "runs").touch()
    (tmp_path / ".config" / "rbp").mkdir(parents=True)
    (tmp_path / ".config" / "rbp" / "machine.toml").write_text("[")
    assert offered("rbp watch ") == []
    assert offered("rbp train no-such-preset lr=") == []
