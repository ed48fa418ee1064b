"""Two users in a shared runs directory where anybody may write (mode 1777): what mallory puts there, alice reads.

Both are real users of the system, without accounts: processes that this one, root's, has forked and whose user it has
changed.
"""

import contextlib
import os
import pickle
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import pytest

from rbp_engine import os_process, owners
from rbp_engine.preset import load_preset
from rbp_engine.preset.find import bundled_folder, shared_presets_problem
from rbp_engine.run import control, start, trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.layout import RunDirectory, read_json, write_json
from rbp_engine.run.launch import launch, multinode
from rbp_engine.run.queue.entries import entries, new_entry, write_entry
from rbp_engine.run.queue.host_lock import host_directory
from rbp_engine.run.queue.start_queued import start_queued
from rbp_engine.run.queue.transitions import withdraw
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status import processes
from rbp_engine.run.store.store import find_run
from rbp_engine.run.store.trash import empty_trash, move_to_trash, remove_run
from rbp_engine.run.trust import Untrusted
from tests.run_files import change_fields, contents, write_attempt

ALICE, MALLORY = 54321, 54322  # no accounts have these numbers
THEIRS = "belongs to user 54322"

pytestmark = pytest.mark.root


class Shared:
    """A runs directory of mode 1777 beside two homes, in a folder that everybody may enter."""

    def __init__(self, base: Path) -> None:
        base.chmod(0o755)
        self.base, self.runs = base, base / "runs"
        self.runs.mkdir()
        self.runs.chmod(0o1777)
        for user in (ALICE, MALLORY):
            self.home(user).mkdir()
            os.chown(self.home(user), user, user)
        # A network that leaves a trace when it is executed.
        self.trace = base / "trace"
        (base / "nets.py").write_text(f"open({str(self.trace)!r}, 'w')\nclass Net:\n    pass\n")
        self.preset, self.plain = base / "own.toml", base / "plain.toml"
        self.plain.write_text('data.name = "digits"\n')
        self.preset.write_text('data.name = "digits"\nmodel.name = "nets.py:Net"\n')

    def home(self, user: int) -> Path:
        return self.base / str(user)

    def create(
        self, run_id: str, owner: int, preset: Path | None = None, runs: Path | None = None, **summary: Any
    ) -> RunDirectory:
        """A run that this user has made, by default with own code and in the shared directory; it has failed, unless
        `summary` says otherwise."""

        def make() -> None:
            run = launch.create(load_preset(str(preset or self.preset)), runs or self.runs, run_id=run_id)
            change_fields(run, **{"status": "failed"} | summary)

        self.act(owner, make)
        return RunDirectory((runs or self.runs) / run_id)

    def act(self, user: int, action: Callable[[], Any]) -> Any:
        """The result of an action of this user, in a process of theirs; raises what it raises."""
        receiver, sender = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.setgroups([])
                os.setgid(user)
                os.setuid(user)
                os.environ |= {"HOME": str(self.home(user)), "RBP_CONFIG": str(self.home(user) / "config")}
                os.environ.pop("XDG_STATE_HOME", None)
                os.chdir(self.home(user))
                result = action()
            except BaseException as error:
                result = error
            try:
                answer = pickle.dumps(result)
            except Exception:
                answer = pickle.dumps(RuntimeError(repr(result)))
            os.write(sender, answer)
            os._exit(0)
        os.close(sender)
        with os.fdopen(receiver, "rb") as file:
            answer = file.read()
        os.waitpid(child, 0)
        result = pickle.loads(answer)
        if isinstance(result, BaseException):
            raise result
        return result

    def refused(self, action: Callable[[], Any]) -> str:
        """The sentence with which alice's action is refused."""

        def attempt() -> str:
            try:
                action()
            except RunError as error:
                return str(error)
            raise AssertionError("it was not refused")

        return str(self.act(ALICE, attempt))


@pytest.fixture(scope="module")
def shared():
    read = [bundled_folder(), Path(psutil.__file__), Path(os.__file__)]
    with tempfile.TemporaryDirectory(prefix="rbp-two-users-") as folder:
        made = Shared(Path(folder))
        if not made.act(ALICE, lambda: all(os.access(path, os.R_OK) for path in read)):
            pytest.skip("other users may not read this checkout and its Python")
        yield made


@pytest.fixture(scope="module")
def planted(shared):
    """Mallory's run: the same experiment, code and id as alice would choose, and created in the far future."""
    return shared.create("nightly", MALLORY, created=4e9)


@pytest.fixture(scope="module")
def mallory_sleeps(shared):
    """Start a process of mallory's with the marker of any run."""
    with contextlib.ExitStack() as stack:

        def sleep(run: RunDirectory) -> "subprocess.Popen[bytes]":
            process = subprocess.Popen(["sleep", "60"], user=MALLORY, env=processes.marker(run))
            stack.callback(process.wait)
            stack.callback(process.kill)
            return process

        yield sleep


def change(path: Path, **values: Any) -> None:
    """Change values of a JSON file, which stays its owner's."""
    owner = path.stat()
    write_json(path, read_json(path) | values)
    os.chown(path, owner.st_uid, owner.st_gid)


def agreeing(act: Callable[[], Any]) -> None:
    """Do what is refused at first, and agree to it."""
    try:
        act()
    except Untrusted as untrusted:
        untrusted.agree()
    act()


def give(run: RunDirectory, user: int) -> None:
    for path in (run.path, *run.path.rglob("*")):
        os.chown(path, user, user)


def name_as_worker(run: RunDirectory, pid: int) -> None:
    """Write into a run's files that this process is its worker, and that the run is live."""
    write_attempt(run, process=asdict(os_process.of(pid)))
    change(run.summary_json, status="running")


def test_resume_or_start_does_not_adopt_a_planted_run_of_that_id(shared, planted):
    before = contents(planted.path)
    request = LaunchRequest(
        str(shared.preset), options=LaunchOptions(shared.runs), run_id="nightly", resume_or_start=True
    )
    assert shared.refused(lambda: start.start_runs(request)) == (
        f"nightly {THEIRS} and would execute code/nets.py, which you have not launched here; "
        "if you trust it, add --trust"
    )
    change(planted.summary_json, status="completed")
    assert THEIRS in shared.refused(lambda: start.start_runs(request))  # nor as a result that is there already
    change(planted.summary_json, status="failed")
    assert contents(planted.path).keys() == before.keys()
    assert not shared.trace.exists()


def test_last_is_alice_s_own_newest_run(shared, planted):
    assert shared.refused(lambda: find_run(shared.runs, "last")) == f"there are no runs of yours in {shared.runs}"
    shared.create("alice-s", ALICE, preset=shared.plain)
    assert shared.act(ALICE, lambda: find_run(shared.runs, "last").id) == "alice-s"
    assert shared.act(MALLORY, lambda: find_run(shared.runs, "last").id) == "nightly"
    assert shared.act(ALICE, lambda: find_run(shared.runs, "nightly").id) == "nightly"  # to be read


@pytest.mark.parametrize(
    "use",
    [
        start.resume,
        trust.require_code,
        lambda run: start.start_runs(LaunchRequest.like(run)),
        control.request_stop,
        control.kill,
        move_to_trash,
        remove_run,
    ],
    ids=["resume", "eval", "like", "stop", "kill", "trash", "remove"],
)
def test_another_s_run_is_neither_executed_nor_changed(shared, planted, use):
    before = contents(shared.runs)
    assert shared.refused(lambda: use(planted)).startswith(f"nightly {THEIRS}")
    assert contents(shared.runs) == before
    assert not shared.trace.exists()


def test_alice_agrees_once_per_content_and_owner(shared):
    run = shared.create("agreed", MALLORY)
    shared.act(ALICE, lambda: agreeing(lambda: trust.require_launch(run)))
    shared.act(ALICE, lambda: trust.require_launch(run))
    assert "Permission denied" in shared.refused(lambda: launch.start(run))  # mallory's folder: one sentence
    shared.act(MALLORY, lambda: (run.code / "nets.py").write_text("another\n"))
    assert THEIRS in shared.refused(lambda: trust.require_launch(run))


def test_to_remove_a_run_alice_need_not_trust_its_code(shared):
    run = shared.create("stoppable", MALLORY)
    (run.code / "nets.py").write_text("# new\n")
    shared.act(ALICE, lambda: agreeing(lambda: trust.require_own(run)))
    assert "would execute code/nets.py" in shared.refused(lambda: trust.require_launch(run))
    assert "cannot write" in shared.refused(lambda: control.request_stop(run))  # it is mallory's folder: one sentence


def test_code_that_alice_has_launched_is_not_trusted_in_mallory_s_hands(shared):
    """Mallory could exchange it between the look and the start."""
    mine = shared.create("mine", ALICE)
    shared.act(ALICE, lambda: trust.require_launch(mine))
    for name in ("code", "code/nets.py", "preset.toml", "run.json", "."):
        os.chown(mine.path / name, MALLORY, MALLORY)
        assert "belongs to user 54322" in shared.refused(lambda: trust.require_launch(mine)), name
        os.chown(mine.path / name, ALICE, ALICE)
    shared.act(ALICE, lambda: trust.require_launch(mine))


def test_a_queued_run_that_became_mallory_s_is_not_started_and_leaves_the_queue(shared):
    run = shared.create("waiting", ALICE, status="queued")

    def queue() -> None:
        host_directory()
        write_entry(new_entry(run, Asked()))

    shared.act(ALICE, queue)
    give(run, MALLORY)
    assert shared.act(ALICE, lambda: start_queued(run)) is False
    assert shared.act(ALICE, entries) == []
    assert not shared.trace.exists()


def test_a_queued_run_that_became_mallory_s_can_be_taken_out_of_the_queue(shared):
    run = shared.create("taken-out", ALICE, shared.plain, status="queued")
    shared.act(ALICE, lambda: write_entry(new_entry(run, Asked())))
    give(run, MALLORY)
    assert shared.refused(lambda: withdraw(run)).startswith(f"taken-out {THEIRS}")
    refusal = shared.refused(lambda: agreeing(lambda: withdraw(run)))
    assert "took taken-out out of the queue, but may not write" in refusal
    assert shared.act(ALICE, entries) == []


def test_a_forged_pid_is_signalled_neither_by_alice_nor_by_root(shared, mallory_sleeps):
    run = shared.create("forged", ALICE)
    process = mallory_sleeps(run)  # with the marker of alice's run, which root can read
    name_as_worker(run, process.pid)
    unrelated = f"process {process.pid}, which it names, is another user's or not one of its own"
    assert unrelated in shared.refused(lambda: control._signal_worker(run, signal.SIGTERM))
    assert unrelated in shared.act(ALICE, lambda: control.kill(run)).reason
    give(run, 0)  # as root's run
    name_as_worker(run, process.pid)
    assert multinode.started_here(run) == []
    with pytest.raises(RunError, match="no signal was sent"):
        control._signal_worker(run, signal.SIGTERM)
    control.signal_ranks(run, signal.SIGTERM)
    assert unrelated in control.kill(run).reason
    assert not processes.send_signal(run, psutil.Process(process.pid), signal.SIGKILL)
    assert process.poll() is None


def test_a_runs_directory_or_trash_of_mallory_s_is_not_written_to(shared):
    theirs = shared.base / "theirs"
    theirs.mkdir()
    theirs.chmod(0o777)
    os.chown(theirs, MALLORY, MALLORY)
    mine = shared.home(ALICE) / "runs"
    run = shared.create("result", ALICE, preset=shared.plain, runs=mine)
    trash = mine.with_name("runs.trash")
    shared.act(ALICE, lambda: trash.symlink_to(theirs))
    for use in (lambda: move_to_trash(run), lambda: empty_trash(mine, [])):
        assert shared.refused(use) == f"{trash} {THEIRS}; if you trust it, add --trust"
    os.lchown(trash, MALLORY, MALLORY)
    assert "is a link that belongs to user 54322" in shared.refused(lambda: move_to_trash(run))
    request = LaunchRequest(str(shared.plain), options=LaunchOptions(theirs))
    assert shared.refused(lambda: start.start_runs(request)) == f"{theirs} {THEIRS}; if you trust it, add --trust"
    assert list(theirs.iterdir()) == []


def test_alice_s_own_link_to_her_scratch_disk_goes_on_working(shared):
    def work() -> list[str]:
        scratch = shared.home(ALICE) / "scratch"
        for name in ("disk", "disk.trash"):
            (scratch / name).mkdir(parents=True)
        linked = shared.home(ALICE) / "linked"
        linked.symlink_to(scratch / "disk")
        (scratch / "elsewhere").mkdir()
        run = launch.create(load_preset(str(shared.plain)), linked, run_id="one")
        write_json(run.summary_json, read_json(run.summary_json) | {"status": "failed"})
        trust.require_launch(run)
        move_to_trash(run)
        return sorted(path.name for path in (scratch / "disk.trash").iterdir())

    assert shared.act(ALICE, work) == ["one"]


def test_presets_that_mallory_could_have_put_there_are_named(shared):
    sticky = shared.base / "sticky"
    (sticky / "presets").mkdir(parents=True)
    sticky.chmod(0o1777)
    shutil.copy(shared.preset, sticky / "presets" / "digits.toml")

    def problem() -> str:
        os.chdir(sticky)
        return shared_presets_problem("digits")

    assert shared.act(ALICE, problem) == ""  # root's
    os.chown(sticky / "presets", MALLORY, MALLORY)
    assert shared.act(ALICE, problem) == (
        f"the preset presets/digits.toml is used, and ./presets {THEIRS}: make sure that it is what you mean"
    )
    os.chown(sticky / "presets", ALICE, ALICE)
    for mode, words in ((0o777, "./presets may be written by everybody"), (0o775, "")):
        (sticky / "presets").chmod(mode)
        assert words in shared.act(ALICE, problem)
    os.chown(sticky / "presets", ALICE, MALLORY)
    (sticky / "presets").chmod(0o775)
    assert "./presets may be written by another group" in shared.act(ALICE, problem)
    (sticky / "presets").chmod(0o755)
    os.chown(sticky / "presets" / "digits.toml", MALLORY, MALLORY)
    assert f"presets/digits.toml {THEIRS}" in shared.act(ALICE, problem)


def test_a_state_directory_of_mallory_s_is_refused(shared):
    """What lies in the queue is executed."""
    state = shared.home(ALICE) / "planted" / "rbp"
    state.mkdir(parents=True)
    state.chmod(0o777)
    os.chown(state, MALLORY, MALLORY)

    def look() -> Any:
        os.environ["XDG_STATE_HOME"] = str(state.parent)
        return host_directory()

    assert shared.refused(look).startswith(f"cannot use {state}, where runs of this host wait for devices: it {THEIRS}")


def test_who_owns_what_is_told_by_name_where_there_is_one():
    assert (owners.name_of(0), owners.name_of(ALICE)) == ("root", "user 54321")
