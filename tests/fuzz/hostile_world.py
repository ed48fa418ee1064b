"""Everything that rbp reads, in a folder that a stranger may have written to, and watchers of what rbp promises.

The promise (docs/security.md): whatever such a file holds, it is read in bounded time and memory, executes nothing,
changes nothing outside, signals no process but the run's own, and no byte of it controls the terminal. What it does not
concern goes on, and what cannot be read is never written over as if it were empty.
"""

import contextlib
import functools
import json
import os
import re
import shutil
import signal
import sys
import time
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import tomlkit
from PIL import Image
from typer.testing import CliRunner

from rbp_engine import os_process
from rbp_engine.errors import UserError
from rbp_engine.plan.driver import SearchDriver
from rbp_engine.plan.points import plan_sweep
from rbp_engine.plan.request import SweepRequest
from rbp_engine.plan.search import plan_search
from rbp_engine.plan.start import run_id_of, start_points
from rbp_engine.plan.states import Standing, states_of
from rbp_engine.run import start, track
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import Asked
from rbp_engine.run.files.events import Scores
from rbp_engine.run.files.layout import RunDirectory, read_json
from rbp_engine.run.files.log_files import log_files, named_folders
from rbp_engine.run.files.run_json import Dispatch
from rbp_engine.run.files.summary import write_status
from rbp_engine.run.history.history_reader import HistoryReader
from rbp_engine.run.launch import launch
from rbp_engine.run.pack.packing import pack
from rbp_engine.run.queue.dispatcher import Dispatcher
from rbp_engine.run.queue.entries import new_entry
from rbp_engine.run.queue.observe import has_failed, is_infrastructure_fault
from rbp_engine.run.request import LaunchOptions, LaunchRequest
from rbp_engine.run.status.status import judge
from rbp_engine.run.store.store import list_runs
from rbp_engine.untrusted_files import JSON_LIMIT, parse_json
from rbp_tui.cli import app
from tests.damaged_files import DAMAGES, write_run
from tests.packed_runs import Archive, torch_file_of_entries

# On a busy machine a command may have to wait for its turn, but not to compute for longer.
# Reading all of an enormous file takes three seconds of a core that nobody else uses.
CPU_S, WALL_S = 15.0, 60.0
MEMORY_BYTES = 2**30
#: In every kind of text: the clipboard, a cleared screen, an 8-bit control, a reversed line, markup, a formula, DEL.
HOSTILE = "=1\x1b]52;c;aGk=\x07\x1b[2J\x9b31m\u202e[/][link=https://x]\x7f"
RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True)
class World:
    """The working directory of a user: `runs`, `presets`, `data`, settings; `outside`, beside it, must not change.

    `innocent` is the pid of a process that is not a run's, and that a forged run names. What is in `own` nobody else
    can write.
    """

    root: Path
    innocent: int

    @property
    def runs(self):
        return self.root / "runs"

    @property
    def outside(self):
        return self.root.with_name(f"{self.root.name}-outside")

    @property
    def own(self):
        return self.root.with_name(f"{self.root.name}-own")

    def run(self, name):
        return RunDirectory(self.runs / name)

    @property
    def search(self):
        """Of its five trials three have begun, of which the second is stopped."""
        words = ("lr=0.01..0.5:log", "run.device=cpu")
        request = LaunchRequest("digits", words, LaunchOptions(self.runs, gpus="none"))
        return plan_search(SweepRequest(request, trials=5, name="trials"))

    @property
    def sweep(self):
        """Of its three runs two have begun, of which the second is stopped."""
        options = LaunchOptions(self.runs, gpus="none")
        return plan_sweep(SweepRequest(LaunchRequest("digits", ("run.device=cpu", "T=1,2,3"), options), name="sweep"))

    def files(self):
        """Every file that a stranger may have written."""
        return sorted(path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink())


def build(root, innocent):
    """A sound world: two runs, one of own code that was lost, and one that is packed; a search and a sweep; a preset
    that extends another; data; settings."""
    world = World(root, innocent)
    (root / "presets").mkdir(parents=True)
    (root / "presets" / "base.toml").write_text('extends = "digits"\ntitle = "base"\n[train]\nepochs = 3\n')
    (root / "presets" / "mine.toml").write_text('extends = "base"\ntitle = "mine"\n[run]\nname = "mine"\n')
    folders = "".join(f"{name} = '{root}/data/{name}'\n" for name in ("mnist", "cifar10"))
    (root / "machine.toml").write_text(f"cpu_slots = 2\n[data]\n{folders}")
    for name in ("one", "lost"):
        write_run(world.runs, name, ended=name == "one")
    code = RunDirectory(world.runs / "lost").code
    code.mkdir()
    (code / "nets.py").write_text(f"open({str(world.outside / 'executed')!r}, 'w').close()\n")
    pack(world.run("one"), root / "packed.zip")
    _write_trials(world)
    _write_data(root / "data")
    world.outside.mkdir()
    (world.outside / "precious.txt").write_text("kept\n")
    (world.outside / "step-00000001").mkdir()
    return world


def _write_trials(world):
    search, plan, queued = world.search, world.sweep, Asked(dispatch=Dispatch(gpus="none"))
    for number, status in enumerate(("completed", "stopped", "completed"), start=1):
        request = search.request_of(number, {"optim.lr": number / 10})
        made = {"run_id": request.run_id, "sweep": request.sweep, "asked": queued}
        write_status(launch.create(request.load(), world.runs, **made), status, last=Scores(top1=0.5))
    for point, status in zip(plan.points, ("completed", "stopped"), strict=False):
        run = launch.create(point.loaded, world.runs, run_id=run_id_of(point), asked=queued)
        write_status(run, status, last=Scores(top1=0.5))


def _write_data(folder):
    """Small files of every format that is read."""
    for name in ("mnist", "cifar10", "images", "events"):
        (folder / name).mkdir(parents=True)
    header = b"\0\0\x08\x03" + b"".join(size.to_bytes(4, "big") for size in (2, 28, 28))
    (folder / "mnist" / "train-images-idx3-ubyte").write_bytes(header + bytes(2 * 28 * 28))
    (folder / "mnist" / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\x02\x01\x02")
    Image.new("RGB", (8, 8)).save(folder / "images" / "a.png")
    np.savez(folder / "events" / "0.npz", t=np.arange(4), x=np.arange(4), y=np.arange(4), p=np.ones(4, bool))


def copy(world, root):
    """The same world in another place."""
    shutil.copytree(world.root, root)
    there = World(root, world.innocent)
    shutil.copytree(world.outside, there.outside)
    return there


def commands(world):
    """The commands that read files of others, or act on runs; and those of ACTIONS."""
    runs = ("--runs-dir", str(world.runs))
    of_runs = [
        ("ls",), ("ls", "--json"), ("ls", "acc>0.5 host:x lr>0", "--sort", "best"), ("show", "lost"),
        ("show", "one", "--json"), ("compare", "one", "lost"), ("runs", "csv", "lost"),
        ("logs", "one"), ("logs", "lost", "--rank", "1"), ("report", "--include-unfinished"), ("report", "--json"),
        ("report", "--format", "csv"), ("watch", "one"), ("watch", "one", "--json"), ("runs", "tag", "one", "+a"),
        ("runs", "note", "lost", "a note"), ("queue",), ("stop", "lost"), ("stop", "--now", "lost"),
        ("runs", "rm", "one", "--yes"), ("runs", "restore"), ("train", "--like", "one", "--dry-run"),
        ("resume", "lost", "--detach"), ("eval", "lost"), ("show", "lost", "--layers"), ("show", "lost", "--why"),
        ("runs", "unpack", "packed.zip", "--as", "new"), ("sweep", "digits", "T=1,2,3", "run.device=cpu", "--status"),
        ("sweep", "digits", "lr=0.01..0.5:log", "run.device=cpu", "--search", "tpe", "--name", "trials", "--status"),
    ]  # fmt: skip
    others = [
        ("presets", "list"), ("presets", "list", "--json"), ("presets", "show", "mine"), ("presets", "check"),
        ("presets", "diff", "mine", "base"), ("train", "mine", "--dry-run"),
        ("train", "./presets/mine.toml", "--dry-run"),
        ("doctor",), ("data", "list"), ("data", "check", "mnist"), ("paper", "--missing"),
    ]  # fmt: skip
    return [*((*words, *runs) for words in of_runs), *others, *((name,) for name in ACTIONS)]


class Unprintable:
    """Its text raises."""

    def __str__(self):
        raise RuntimeError("no text")


def go_on_with_the_search(world):
    """Whatever one or two of its trials are, the next one is created."""
    search = world.search
    try:
        SearchDriver(search).look()
    except UserError as error:
        raise AssertionError(f"the search does not go on: {error}") from error
    assert any(search.run_of(number).run_json.is_file() for number in (4, 5)), "the search does not go on"


def go_on_with_the_sweep(world):
    """Whatever its runs are, those that are missing are created."""
    plan = world.sweep
    try:
        start_points(plan, states_of(plan), lambda refused: None)
    except UserError as error:
        raise AssertionError(f"the sweep does not go on: {error}") from error
    missing = [state.point.overrides for state in states_of(plan) if state.standing is Standing.MISSING]
    assert not missing, f"the sweep does not go on: {missing} is missing"


def run_the_hook(world):
    """As the dispatcher does at the end of an attempt. It imports what lies where it runs, and what must not."""
    run, trouble = world.run("lost"), []
    job = SimpleNamespace(attempt=1, failed=False, started=True)
    dispatcher = SimpleNamespace(_children=[], log=lambda *words: trouble.append(words))
    Dispatcher._run_hooks(dispatcher, SimpleNamespace(job=job), new_entry(run, Asked()))
    for process in dispatcher._children:
        process.wait()
    whole = run.control.is_dir() and not any(folder.is_symlink() for folder in (run.path, run.control))
    log = run.control / "hook-1"
    assert not whole or (log.is_file() and "the hook ran" in log.read_text()), f"no hook runs: {trouble}"


def track_a_program(world):
    """With odd settings: it is refused by a RunError, or leaves a run that can be read."""
    deep = {}
    for _ in range(5000):
        deep = {"a": deep}
    odd = [
        ({"a": Unprintable(), "b": 10**5000, "c": deep, 10**5000: "d"}, {"epochs": np.int64(3)}),
        ({}, {"epochs": 3, "steps_per_epoch": 31.25}),
        ({}, {"epochs": "3"}),
    ]
    for settings, planned in odd:
        with contextlib.suppress(RunError), track(settings, runs_dir=world.own / "runs", **planned) as run:
            run.log(loss=0.5, step=10**30)
            run.log(loss=0.5, epoch=10**25)
    unreadable = [one.verdict.reason for one in list_runs(world.own / "runs") if not one.readable]
    assert not unreadable, f"a tracked run is unreadable: {unreadable[0]}"


def read_as_the_dashboard(world):
    """All of a run, and for the queue how its newest attempt has ended; what a RunError refuses is refused in words."""
    run = world.run("lost")
    with contextlib.suppress(RunError):
        verdict = judge(run)
        is_infrastructure_fault(run, verdict)
        has_failed(run, verdict)
        log_files(run, named_folders(run))
        reader = HistoryReader(run)
        reader.poll()
        reader.history()


#: What rbp does beside its commands, with the user's own settings; each raises for a promise that is broken.
ACTIONS = {
    "the search goes on": go_on_with_the_search,
    "the sweep goes on": go_on_with_the_sweep,
    "the hook runs": run_the_hook,
    "a run is read whole": read_as_the_dashboard,
    "a program is tracked": track_a_program,
}


# --- what a stranger does -----------------------------------------------------------------------------------------


def put_fifo(path, world, draw):
    path.unlink()
    os.mkfifo(path)


def put_link_outside(path, world, draw):
    """To a file outside, or to the folder of it in the place of this one's folder."""
    if draw.random() < 0.5 and path.parent != world.root:
        shutil.rmtree(path.parent)
        path.parent.symlink_to(world.outside)
    else:
        path.unlink()
        path.symlink_to(world.outside / "precious.txt")


def put_link_to_itself(path, world, draw):
    path.unlink()
    path.symlink_to(path)


def put_endless_device(path, world, draw):
    path.unlink()
    path.symlink_to("/dev/zero")


def write_hostile_text(path, world, draw):
    """Into every text of a JSON or TOML file; at the end of others."""
    try:
        if path.suffix == ".jsonl":
            lines = [json.dumps(_hostile(json.loads(line))) for line in path.read_text().splitlines()]
            path.write_text("\n".join(lines) + "\n")
        elif path.suffix == ".json":
            path.write_text(json.dumps(_hostile(json.loads(path.read_text()))))
        elif path.suffix == ".toml":
            path.write_text(tomlkit.dumps(_hostile(tomllib.loads(path.read_text()))))
        else:
            with path.open("a") as file:
                file.write(HOSTILE + "\n")
    except (ValueError, OSError, RecursionError):
        path.write_text(HOSTILE)


def _hostile(value):
    """The value with hostile text after every text that does not decide what the file is."""
    if isinstance(value, dict):
        kept = ("kind", "status", "extends", "method", "experiment", "id")
        return {key: item if key in kept else _hostile(item) for key, item in value.items()} | {f"k{HOSTILE}": HOSTILE}
    if isinstance(value, list):
        return [_hostile(item) for item in value]
    return value + HOSTILE if isinstance(value, str) else value


def write_huge_numbers(path, world, draw):
    text = path.read_text(errors="replace")
    huge = draw.choice(["9" * 30, "1e308", "-1", "99999999999", "1" + "0" * 5000])
    path.write_text(re.sub(r"(?<=[:=] )\d+(\.\d+)?", huge, text))


def name_an_innocent_process(path, world, draw):
    """In the attempt of a run that says that it is running."""
    run = RunDirectory(world.runs / "lost")
    attempt = {"attempt": 1, "process": asdict(os_process.of(world.innocent))}
    now = {"status": "running", "attempt": 1, "updated": time.time(), "progressed": time.time()}
    for file, value in ((run.attempt(1), attempt), (run.summary_json, read_json(run.summary_json) | now)):
        with contextlib.suppress(OSError):  # it may be a folder by now
            file.write_text(json.dumps(value))


def make_enormous(path, world, draw):
    """Sparse, of four times the memory that a command may take."""
    with path.open("r+b") as file:
        file.truncate(4 * MEMORY_BYTES)


def nest_tables(path, world, draw):
    text = "".join(f"[a{number}]\n" for number in range(100_000)) if path.suffix == ".toml" else "[" * 100_000
    path.write_text(text)


def put_a_list_for_a_name(path, world, draw):
    """Of a layer, in the events of a run."""
    _change_an_event(world, "run_start", neuron_layers=[["x"]])


def number_an_attempt_by_400_digits(path, world, draw):
    _change_an_event(world, "metrics", attempt=10**400)


def _change_an_event(world, kind, **fields):
    with contextlib.suppress(OSError, ValueError):  # it may be damaged by now
        events = [json.loads(line) for line in world.run("lost").events().read_text().splitlines()]
        next(event for event in events if event["kind"] == kind).update(fields)
        world.run("lost").events().write_text("".join(json.dumps(event) + "\n" for event in events))


def put_importable_folders(path, world, draw):
    """As an archive without own code may: a run's folders as packages, which a program there would find first."""
    for name in ("checkpoints", "control", "events", "ranks", "tensorboard"):
        with contextlib.suppress(OSError):
            folder = world.run("lost").path / name
            folder.mkdir(exist_ok=True)
            (folder / "__init__.py").write_text(f"open({str(world.outside / 'executed')!r}, 'w').close()\n")


def fail_with_a_huge_text(path, world, draw):
    summary = world.run("lost").summary_json
    with contextlib.suppress(OSError):
        summary.write_text(json.dumps(read_json(summary) | {"status": "failed", "reason": "x" * 400_000}))


def put_a_dangling_link(path, world, draw):
    """In the place of a trial or a run that is to come."""
    name = draw.choice([world.search.run_of(4).id, run_id_of(world.sweep.points[2])])
    world.run(name).path.symlink_to(world.root / "nowhere")


def make_it_a_colleagues(path, world, draw):
    """A stopped run of the search, and one of the sweep: with code that nobody has launched here and, where this user
    can, with another owner."""
    for run in (world.search.run_of(2), world.run(run_id_of(world.sweep.points[1]))):
        with contextlib.suppress(OSError):
            run.code.mkdir()
            (run.code / "nets.py").write_text("")
            os.chown(run.path, 65534, 65534)


def add_a_comma(path, world, draw):
    """By hand, to a file that is written again and again."""
    for name in ("run.json", "annotations.json"):
        file = world.run("one").path / name
        if file.is_file():
            file.write_text(file.read_text(errors="replace").rstrip().removesuffix("}") + ",}\n")


def pack_an_endless_directory(path, world, draw):
    """Of a file of weights in the packed run: of nothing but 500,000 entries."""
    archive = Archive(world.run("one"))
    archive.list("checkpoints/best/optimizer.pt", torch_file_of_entries(500_000))
    archive.write(world.root / "packed.zip")


def _damage(change):
    def apply(path, world, draw):
        change(path, draw)

    apply.__name__ = change.__name__
    return apply


MISCHIEF = (
    put_fifo, put_link_outside, put_link_to_itself, put_endless_device, write_hostile_text, write_hostile_text,
    write_huge_numbers, name_an_innocent_process, make_enormous, nest_tables, put_a_list_for_a_name,
    number_an_attempt_by_400_digits, put_importable_folders, fail_with_a_huge_text, put_a_dangling_link,
    make_it_a_colleagues, add_a_comma, pack_an_endless_directory, *map(_damage, DAMAGES),
)  # fmt: skip


# --- what rbp promises --------------------------------------------------------------------------------------------

_acts = []


@functools.cache
def watch_acts():
    """Note the signals and processes of this process from now on; the interpreter cannot forget such a hook."""

    def note(event, args):
        if event in ("os.kill", "os.killpg", "subprocess.Popen"):
            _acts.append((event, args))

    sys.addaudithook(note)


def memory(name):
    """This process's memory in bytes: `VmRSS` now, `VmHWM` at its peak since `forget_peak`."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(f"{name}:")]
    return 1024 * int(line.split()[1])


def forget_peak():
    Path("/proc/self/clear_refs").write_text("5")


class NotDone(BaseException):
    """A command has taken too long; no handler of errors in it is meant for this."""


@contextlib.contextmanager
def time_limit(computing, waiting):
    """Raise NotDone after that many seconds of computing or of waiting, out of a blocking call as well."""

    def give_up(number, frame):
        raise NotDone(f"not done: it {'waits' if number == signal.SIGALRM else 'computes'} for ever")

    timers = ((signal.ITIMER_PROF, signal.SIGPROF, computing), (signal.ITIMER_REAL, signal.SIGALRM, waiting))
    before = {number: signal.signal(number, give_up) for _, number, _ in timers}
    for timer, _, seconds in timers:
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer, number, _ in timers:
            signal.setitimer(timer, 0)
            signal.signal(number, before[number])


def snapshot(folder):
    """What must not change: names, inodes, times and contents."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_ino,
            path.lstat().st_mtime_ns,
            path.read_bytes() if path.is_file() else b"",
        )
        for path in sorted(folder.rglob("*"))
    }


def unreadable_files(world):
    """What notes, tags and attempts are in, and cannot be read from."""
    found = {}
    for path in world.files():
        if path.name in ("run.json", "annotations.json") and path.stat().st_size <= JSON_LIMIT:
            content = path.read_bytes()
            try:
                if isinstance(parse_json(content, JSON_LIMIT), dict):
                    continue
            except ValueError:
                pass
            found[path] = content
    return found


def _do(world, words, environment):
    """The error of a command or of one of ACTIONS, and what it prints."""
    if words[0] not in ACTIONS:
        done = CliRunner().invoke(app, list(words), env=environment)
        return done.exception, done.output_bytes
    world.own.mkdir(exist_ok=True)
    hook = f"""{sys.executable} -c "import ranks"; echo the hook ran"""
    (world.own / "machine.toml").write_text(f"cpu_slots = 8\n[hooks]\non_end = '{hook}'\n")
    own = {"RBP_CONFIG": str(world.own), "XDG_STATE_HOME": str(world.own / "state")}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (environment | own).items():
            if value is None:
                patch.delenv(name, raising=False)
            else:
                patch.setenv(name, value)
        patch.setattr(start, "ensure_dispatcher", lambda: None)  # what is queued stays so
        try:
            ACTIONS[words[0]](world)
        except Exception as error:
            return error, b""
    return None, b""


def broken_promises(world, words):
    """What a command does that it must not; empty if it keeps every promise."""
    before, unreadable = snapshot(world.outside), unreadable_files(world)
    forget_peak()
    at_rest = memory("VmRSS")
    _acts.clear()
    broken = []
    environment = {
        "COLUMNS": "200", "HOME": str(world.root.parent / "home"), "RBP_CONFIG": str(world.root),
        "XDG_STATE_HOME": str(world.root.parent / "home" / "state"), "RBP_PRESETS": None, "RBP_DATA": None,
    }  # fmt: skip
    here = Path.cwd()
    os.chdir(world.root)
    try:
        with time_limit(CPU_S, WALL_S):
            error, output = _do(world, words, environment)
    except NotDone as never:
        return [str(never)]
    finally:
        os.chdir(here)
    if error is not None and not isinstance(error, (SystemExit, UserError)):
        broken.append(f"{type(error).__name__}: {error}")
    text = output.decode(errors="replace")
    if "Traceback (most recent call last)" in text:
        broken.append("it prints a traceback")
    if found := RAW.search(text):
        around = text[max(0, found.start() - 40) : found.end() + 20]
        broken.append(f"it prints {found[0]!r} raw: {around!r}")
    if snapshot(world.outside) != before:
        broken.append("it changes a file outside")
    written = [path.name for path, content in unreadable.items() if path.is_file() and path.read_bytes() != content]
    broken += [f"it writes over {name}, which it could not read" for name in written]
    for event, args in _acts:
        if event != "subprocess.Popen" and args[0] == world.innocent and args[1]:
            broken.append("it signals a process that is not the run's")
        if event == "subprocess.Popen" and "rbp_engine.train.worker" in str(args[1]):
            broken.append("it starts a worker")
    grown = memory("VmHWM") - at_rest
    if grown > MEMORY_BYTES:
        broken.append(f"it takes {grown / 2**20:.0f} MiB")
    return broken


def draw_case(pristine, root, draw, mischief=MISCHIEF):
    """A world in which a stranger has been at one or two files, and what he did."""
    world, did = copy(pristine, root), []
    for _ in range(draw.choice([1, 1, 2])):
        candidates = world.files()
        if draw.random() < 0.6:  # most files of a run are logs; these matter most
            named = ("run.json", "summary.json", "preset.toml", "annotations.json", "evaluation.json")
            named += ("rank0.jsonl", "machine.toml")
            candidates = [path for path in candidates if path.name in named or path.parent.name == "presets"]
        path, do = draw.choice(candidates), draw.choice(mischief)
        if path.exists() and not path.is_symlink():
            do(path, world, draw)
            did.append(f"{do.__name__} {path.relative_to(world.root)}")
    return world, ", ".join(did)
