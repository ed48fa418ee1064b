"""Code of a run is executed once the user has launched that code here, or said that they trust it."""

import os
import stat

import pytest

from rbp_engine.bench.measure.measurement import temporary_run
from rbp_engine.preset import load_preset
from rbp_engine.run import start, trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.queue.entries import queue_directory
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.trust import Untrusted
from tests.run_files import change_identity, create_own


@pytest.fixture
def state(tmp_path):
    """The user's state directory, still missing."""
    return tmp_path / "state" / "rbp"


@pytest.fixture
def launched(tmp_path):
    """A run with code that this user has launched."""
    return create_own(tmp_path, tmp_path / "runs")


@pytest.fixture
def unpacked(launched, state):
    """A run with code, on a machine where nobody has launched it."""
    (state / "trusted").unlink()
    return launched


def test_code_that_is_not_seen_is_not_taken_for_none(launched, tmp_path):
    """A cache of the folder may be older than its file."""
    (launched.code / "nets.py").rename(tmp_path / "unseen.py")
    for require in (trust.require_launch, trust.require_code):
        with pytest.raises(RunError, match="seems to be empty"):
            require(launched)


def test_a_run_with_the_code_that_is_asked_for_is_trusted_on_another_node(launched, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another node"))
    sources = {path.name: path.read_bytes() for path in launched.code.iterdir()}
    with pytest.raises(Untrusted):
        trust.require_launch(launched)
    trust.remember_same_code(launched, {name: source + b"#" for name, source in sources.items()})
    with pytest.raises(Untrusted):
        trust.require_launch(launched)
    trust.remember_same_code(launched, sources)
    trust.require_launch(launched)


def test_only_a_hash_is_kept_which_only_the_user_may_read_and_by_which_a_copy_is_known(launched, state):
    lines = (state / "trusted").read_text().splitlines()
    assert [len(line) for line in lines] == [64]
    assert stat.S_IMODE((state / "trusted").stat().st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    copy = launched.path.parent / "copy"
    launched.path.rename(copy)
    trust.require_launch(RunDirectory(copy))
    trust.require_code(RunDirectory(copy))


def test_a_run_without_code_is_plain_data_and_nothing_is_kept_about_it(make_run, state):
    run = make_run("plain")
    trust.require_launch(run)
    trust.remember(run, Resources())
    assert not state.exists()


@pytest.mark.parametrize(
    "use", [start.resume, trust.require_code, lambda run: start.start_runs(LaunchRequest.like(run))],
    ids=["begin", "eval", "like"],
)  # fmt: skip
def test_unknown_code_is_refused_in_one_sentence_that_says_what_to_do(unpacked, use):
    with pytest.raises(Untrusted) as refused:
        use(unpacked)
    message = "own would execute code/nets.py, which you have not launched here; if you trust it, add --trust"
    assert str(refused.value) == message
    assert len(list(unpacked.path.parent.iterdir())) == 1


def test_a_preset_that_names_copies_of_a_run_is_asked_for_before_it_is_measured_or_made_a_run(unpacked, tmp_path):
    request = LaunchRequest.like(unpacked)
    for use in (
        lambda: start.create_runs(request, [request.require_trust(request.load())]),
        lambda: temporary_run(request.load()).__enter__(),
    ):
        with pytest.raises(Untrusted, match=r"own would execute code/nets\.py"):
            use()
    trust.require_preset(load_preset(str(tmp_path / "own.toml")))  # the user's own


def test_agreement_holds_for_this_content_and_not_for_another(unpacked):
    with pytest.raises(Untrusted) as refused:
        trust.require_launch(unpacked)
    refused.value.agree()
    trust.require_launch(unpacked)
    (unpacked.code / "nets.py").write_text("import os\n")
    with pytest.raises(Untrusted):
        trust.require_launch(unpacked)
    (unpacked.code / "nets.py").write_text("class Net:\n    pass\n")
    unpacked.preset_toml.write_text(unpacked.preset_toml.read_text().replace("nets.py:Net", "nets.py:os"))
    with pytest.raises(Untrusted):
        trust.require_launch(unpacked)


@pytest.mark.parametrize("what", ["a link", "a named pipe", "a folder"])
def test_a_link_a_pipe_or_an_empty_folder_among_the_code_is_refused_at_once(launched, tmp_path, what):
    odd = launched.code / "odd.py"
    {"a link": lambda: odd.symlink_to(tmp_path / "nets.py"), "a named pipe": lambda: os.mkfifo(odd),
     "a folder": odd.mkdir}[what]()  # fmt: skip
    why = "odd.py seems to be empty" if what == "a folder" else r"cannot read .*odd\.py: a link or a special file"
    with pytest.raises(RunError, match=rf"own: .*{why}"):
        trust.require_launch(launched)


def test_code_that_cannot_be_read_is_named(launched, without_privileges):
    (launched.code / "layers").mkdir(mode=0)
    with pytest.raises(RunError, match=r"own/code/layers cannot be read \(Permission denied\)"):
        trust.require_launch(launched)


def test_code_of_absurd_size_or_number_is_refused(launched):
    with (launched.code / "large.py").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(RunError, match=r"large\.py is larger than"):
        trust.require_launch(launched)
    (launched.code / "large.py").unlink()
    for number in range(trust.MOST_FILES):
        (launched.code / f"{number}.py").touch()
    with pytest.raises(RunError, match="there are more than 100 files"):
        trust.require_launch(launched)


def test_files_in_folders_of_the_code_are_asked_for_too(unpacked, tmp_path):
    for name in ("a/b/deep.py", "layers.py", "more.py"):
        (unpacked.code / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked.code / name).touch()
    with pytest.raises(Untrusted, match=r"would execute code/a/b/deep\.py, code/layers\.py, .* and 1 more file, which"):
        trust.require_launch(unpacked)
    trust.remember(unpacked, Resources())
    trust.require_launch(unpacked)
    (unpacked.code / "a/b/deep.py").write_text("import os\n")
    with pytest.raises(Untrusted):
        trust.require_launch(unpacked)
    (unpacked.code / "a/b/deep.py").unlink()
    (unpacked.code / "a/b/deep.py").symlink_to(tmp_path / "nets.py")
    with pytest.raises(RunError, match=r"deep\.py: a link or a special file"):
        trust.require_launch(unpacked)
    (unpacked.code / "1/2/3/4/5").mkdir(parents=True)
    with pytest.raises(RunError, match=r"code/1/2/3/4/5 is deeper than any run's code: at most 4 folders"):
        trust.require_launch(unpacked)


def test_a_rendezvous_of_another_s_run_is_asked_for(make_run):
    """Torchrun unpickles what it is sent from there."""
    run = make_run("wide", status="failed", attempt={})
    change_identity(run, resources={"processes": 2, "nodes": 2, "rendezvous": "evil.example:29400"})
    for use in (start.resume, lambda run: start.start_runs(LaunchRequest.like(run))):
        run.preset_toml.write_text("")
        with pytest.raises(Untrusted, match=r"wide would meet other processes at evil\.example:29400"):
            use(run)
    trust.remember_rendezvous(Resources(2, 2, "evil.example:29400"))
    trust.require_rendezvous(run, "evil.example:29400")


def test_a_list_that_others_could_have_written_is_not_believed(launched, state):
    for mode in (0o620, 0o602):
        (state / "trusted").chmod(mode)
        with pytest.raises(Untrusted):
            trust.require_launch(launched)


def test_a_state_directory_that_others_could_enter_is_closed(launched, state):
    folders = (state, state / "hosts", queue_directory())
    for folder in folders:
        folder.chmod(0o755)
    queue_directory()
    assert [stat.S_IMODE(folder.stat().st_mode) for folder in folders] == [0o700] * 3


def test_an_unwritable_state_directory_does_not_prevent_a_launch(tmp_path, state):
    state.parent.mkdir()
    state.touch()  # no folder can be made there
    with pytest.raises(Untrusted) as refused:
        trust.require_launch(create_own(tmp_path, tmp_path / "runs"))
    with pytest.raises(RunError, match=r"cannot note in .*trusted that you trust it"):
        refused.value.agree()
