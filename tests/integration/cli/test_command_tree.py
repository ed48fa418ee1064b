"""Every command: without arguments, with a wrong one, and during completion in a shell."""

import shlex
import signal

import pytest
from typer.core import TyperGroup
from typer.main import get_command

from rbp_tui.cli import app


def walk(command, path=()):
    yield path, command
    for name, below in getattr(command, "commands", {}).items():
        yield from walk(below, (*path, name))


TREE = dict(walk(get_command(app)))
LEAVES = {path: command for path, command in TREE.items() if not isinstance(command, TyperGroup)}
# They measure, or read whole data sets, which takes minutes, and rm needs RUN or --trash. They have their own tests.
WORK_WITHOUT_ARGUMENTS = {("bench",), ("doctor",), ("data", "check"), ("runs", "rm")}
# Wrong words for commands that accept nearly every word.
WRONG = {("ls",): "T>", ("report",): "T>", ("presets", "new"): "no such name!"}


def message(done):
    """The error message in one line; there must be exactly one."""
    assert "Traceback" not in done.stderr
    if done.stderr.startswith("Usage: "):
        return " ".join(done.stderr.partition("Error: ")[2].split())
    said = done.stderr or done.stdout  # `rbp presets check` prints the problems of presets on stdout
    assert done.stderr.count("error ") == (done.stderr != "")
    return " ".join(said.removeprefix("error ").split())


@pytest.fixture(autouse=True)
def sigterm_as_it_was():
    """Commands that measure change the handler of SIGTERM, and here they run in the process of the tests."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


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


@pytest.mark.parametrize("path", [path for path in LEAVES if path not in WORK_WITHOUT_ARGUMENTS], ids=" ".join)
def test_without_arguments_a_command_works_or_names_what_is_missing(rbp_here, path):
    needed = next((parameter for parameter in LEAVES[path].params if parameter.required), None)
    done = rbp_here(*path, code=0 if needed is None else 2)
    if needed is not None:
        assert message(done).startswith("Missing ")
        assert needed.help in message(done)


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_a_wrong_argument_and_a_wrong_option_are_named(rbp_here, path):
    word = WRONG.get(path, "no-such-thing")
    said = message(rbp_here(*path, word, code=2))
    if path in LEAVES:
        assert word in said or said.startswith("Missing ")
    else:
        assert said.startswith(f"No such command '{word}'")
    assert "--no-such-option" in message(rbp_here(*path, "--no-such-option", code=2))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("runs", "show"), "'rbp show' or 'rbp presets show'"),
        (("presets", "shw"), "'rbp presets show' or 'rbp show'"),
        (("csv",), "'rbp runs csv'"),
        (("runs", "ls"), "'rbp ls'"),
        (("trian",), "'rbp train'"),
        (("runs", "remove"), "'rbp runs rm'"),
    ],
)
def test_an_unknown_command_is_answered_with_those_of_other_groups(rbp_here, words, meant):
    assert message(rbp_here(*words, code=2)).endswith(f"Did you mean {meant}?")


@pytest.mark.parametrize("path", [path for path in TREE if path not in LEAVES], ids=" ".join)
def test_no_summary_of_a_command_is_cut(rbp_here, path):
    _, *lines = rbp_here(*path, "--help-all").stdout.splitlines()
    assert not [line for line in lines if line.endswith("...")]


@pytest.mark.parametrize("path", TREE, ids=" ".join)
def test_every_command_can_be_completed(offered, path):
    line = " ".join(("rbp", *path))
    for rest in ("n", "no-such-thing ", "no-such-thing n=", "--epochs 3 n=1 "):
        offered(f"{line} {rest}")
    assert "--help" in offered(f"{line} --")
    if commands := getattr(TREE[path], "commands", None):
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


@pytest.mark.parametrize(
    "words",
    ["train digits --pretrained {}", "train digits model.pretrained={}", "train digits loss.distill=./{}", "import {}",
     "try {}.py:Net", "bench digits -o {}.json", "figure curves -o {}/x.pdf"],
)  # fmt: skip
def test_a_name_that_no_file_can_have_is_an_error_in_words(rbp_here, words):
    done = rbp_here(*words.format("x" * 300).split(), code=2)
    assert "File name too long" in done.stderr or "there is no folder" in done.stderr
