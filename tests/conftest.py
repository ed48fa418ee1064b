"""Run folders for tests that read runs, written by the same code as a worker's, without a worker."""

import ctypes
import functools
import gc
import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from rbp_engine import compile_cache, os_process
from rbp_engine.run.files import run_json
from rbp_engine.run.files.events import Body, Heartbeat, Scores, Top1ByWeights
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary, write_summary
from rbp_engine.run.writer import EventWriter
from tests.real import warm_python
from tests.run_files import change_summary, write_attempt, write_identity

# The shell starts background jobs, such as `make test &` in a script, with Ctrl-C ignored. Our children would inherit
# that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# What is in lists and pictures must not depend on the data sets that a Debian package has put on this machine.
os.environ["XDG_DATA_DIRS"] = os.devnull

# Tests that give a run its own home still share the compiled kernels.
os.environ |= compile_cache.variables()

# How long an example takes depends on what else the machine does.
hypothesis.settings.register_profile("rbp", deadline=None)
hypothesis.settings.load_profile("rbp")

# Neither the installed packages nor what git says of a folder change, and reading them takes longer than all else
# in the creation of a run.
run_json.packages = functools.cache(run_json.packages)
run_json.git_state = functools.cache(run_json.git_state)

# No test here needs what outlives a power loss, and a busy disk takes long. This finds a descriptor that is none, too.
os.fsync = os.fstat

# Full collections scan all of torch, and little of what tests leave behind needs them.
gc.set_threshold(50_000, 20, 100)

# What rbp makes where it is called, and in the home, named before a test changes that.
_MADE = ("runs", "runs.trash", "rbp-export", "data", "gpu-report.md", ".local/state/rbp", ".config/rbp")
_ELSEWHERE = [folder / name for folder in (Path(__file__).parents[1], Path.home()) for name in _MADE]

# How many lines all failures together have at the end.
_LINES_OF_FAILURES = 20

_SCORES = {"last": Scores, "best": Scores, "train": Scores, "test": Top1ByWeights}

WriteRun = Callable[..., RunDirectory]


def pytest_configure(config: pytest.Config) -> None:
    """Tests that are coroutines need no mark, and those without a state of their own share one that is not the user's.
    Start most processes of the project as forks of one that has imported torch; see tests/real/warm_python.py."""
    config.option.asyncio_mode = "auto"
    if warm_python.SOCKET not in os.environ:  # this is the first process of the session
        folder = Path(tempfile.mkdtemp())
        os.environ |= {warm_python.SOCKET: str(folder / "socket"), "XDG_STATE_HOME": str(folder / "state")}
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))  # an exception here is exit code 1
    if "RBP_COLD" not in os.environ:
        warm_python.use(os.environ[warm_python.SOCKET])


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Function]) -> None:
    """Mark the tests whose fixtures need root, and skip all that need it where nobody has it."""
    for item in items:
        if "as_root" in item.fixturenames:
            item.add_marker("root")
        if item.get_closest_marker("root") and os.geteuid() != 0:
            item.add_marker(pytest.mark.skip(reason="only root can act as other users and machines, and mount"))


@pytest.fixture(scope="session")
def as_root() -> None:
    """For a fixture that only root can make."""


@pytest.fixture(autouse=True)
def nothing_is_left_elsewhere() -> Iterator[None]:
    """A test fails that leaves something at the root, or in the checkout or the home what rbp makes there; with several
    processes also those that run beside it."""
    before = _elsewhere()
    yield
    assert not (new := _elsewhere() - before), f"made outside the folder of a test, meanwhile: {sorted(new)}"


def _elsewhere() -> set[str]:
    with os.scandir("/") as root:
        return {entry.path for entry in root} | {str(path) for path in _ELSEWHERE if path.exists()}


def pytest_terminal_summary(terminalreporter: "pytest.TerminalReporter") -> None:
    """Print the failed tests last, with the beginning of what each said: of a long log people see the end."""
    failed = [report for kind in ("failed", "error") for report in terminalreporter.stats.get(kind, ())]
    for report in failed:
        crash = getattr(report.longrepr, "reprcrash", None)
        said = (crash.message if crash else str(report.longrepr)).strip().splitlines()
        first, *others = said[: max(1, _LINES_OF_FAILURES // len(failed))] or [""]
        terminalreporter.write_line(f"FAILED {report.nodeid} - {first[:200]}", red=True)
        for line in others:
            terminalreporter.write_line(f"    {line[:200]}")


def pytest_collection_finish() -> None:
    """Exclude everything imported so far from garbage collection."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def write_run() -> WriteRun:
    """Write the folder of a run into a runs directory; keywords change its summary.

    `bodies` are its events, one per step and second. A live run has the test process as its worker.
    """

    def write(runs: Path, run_id: str, *, bodies: tuple[Body, ...] = (), **changes: Any) -> RunDirectory:
        run = RunDirectory(runs / run_id)
        for folder in (run.attempts, run.control, run.checkpoints, run.events().parent, run.stdout().parent):
            folder.mkdir(parents=True)
        values = {
            "id": run_id, "preset": "digits", "experiment": "e", "method": "rate_m", "timesteps": 4, "seed": 1,
            "status": "completed", "epoch": 20, "epochs": 20, "step": 400, "steps": 400, "step_ms": 5.0,
            "last": {"top1": 0.9, "loss": 0.3}, "best": {"top1": 0.95, "epoch": 12}, "train": {"loss": 0.2},
            "samples_per_s": 4812.0, "mem_peak": 2**30, "trained_s": 61.0,
        }  # fmt: skip
        values = {name: _SCORES[name](**one) if isinstance(one, dict) else one for name, one in values.items()}
        summary = Summary(**(values | changes))
        updated = changes.get("updated", time.time())
        write_identity(run, summary, host="gpu2")
        write_summary(run, summary)
        if "updated" in changes:  # write_summary sets it to now
            change_summary(run, updated=updated)
        write_attempt(run, t=updated)
        if bodies:
            writer = EventWriter(run.events(), 1)
            for step, body in enumerate(bodies):
                writer.write(body, step, now=updated - len(bodies) + step)
            writer.close()
        return run

    return write


@pytest.fixture(scope="session")
def write_runs(write_run: WriteRun) -> Callable[[Path, int], None]:
    """Write many runs, newest last, three seeds per experiment."""

    def write(runs: Path, count: int) -> None:
        for number in range(count):
            top1 = 0.5 + (number * 37 % 100) / 250
            write_run(
                runs, f"20260101-{number:06}-digits-rate_m-{number:04x}", experiment=f"e{number // 3}",
                seed=number % 3 + 1, best=Scores(top1=top1, epoch=12), last=Scores(top1=top1 - 0.01),
                created=1.7e9 + number,
            )  # fmt: skip

    return write


#: What a terminal obeys, what reorders a line, markup of Rich and Textual, a formula, and half of a surrogate pair.
HOSTILE_TEXT = (
    "=1+1\x1b]52;c;aGk=\x07\x1b]0;title\x1b\\\x1b[2J\x1b[31m\x9b2J\x9d8;;\x7f\u202e\u2066\x00\r"
    "[/] [link=http://x]y[/link] [@click=app.quit]z[/] [bold :bomb: \ud800\t\n12:00:00 completed"
)


@pytest.fixture(scope="session")
def hostile_text() -> str:
    return HOSTILE_TEXT


@pytest.fixture(scope="session")
def write_texts(write_run: WriteRun) -> WriteRun:
    """Write a run that has `text` in every field that a file can hold text in; `status` is that of its summary."""

    def put(path: Path, *values: Any) -> None:
        """Write JSON with as many characters as possible raw, a value a line; half a surrogate pair is none."""
        lines = (f"{json.dumps(value, ensure_ascii=False)}\n" for value in values)
        path.write_bytes("".join(lines).encode(errors="ignore"))

    def write(runs: Path, run_id: str, text: str, status: str = "failed") -> RunDirectory:
        texts: dict[str, Any] = dict.fromkeys(
            ("preset", "experiment", "method", "reason", "cause", "name", "label", "id"), text
        )
        texts |= {"status": status, "tags": [text, "two"]}
        run = write_run(runs, run_id, bodies=(Heartbeat(),))
        summary = json.loads(run.summary_json.read_text()) | texts
        summary |= {"test": {text: 0.5, "last": 0.5}, "last": summary["last"] | {text: 1}}
        put(run.summary_json, summary)
        origin = json.loads(run.run_json.read_text())
        attempt = json.loads(run.attempt(1).read_text()) | {
            "process": asdict(os_process.of(2**22 - 1)) | {"host": text},
            "command": [text, text],
        }
        said = ("id", "preset", "source", "experiment", "host", "directory", "command", "python", "platform")
        origin |= dict.fromkeys(said, text) | {name: texts[name] for name in ("method", "name", "label", "tags")}
        origin |= {
            "packages": {"torch": text, "rbp-tui": text, text: text},
            "git": {"commit": text, "branch": text, "changed": True},
            "resources": {"processes": 1, "nodes": 1, "rendezvous": text, "devices": [text]},
            "dispatch": {"gpus": text, "device": text, text: text},
            "settings": {"title": text, "optim": {text: [text]}},
        }
        put(run.run_json, origin)
        put(run.attempt(1), attempt | {"ended": {"status": text, "cause": text, "reason": text, "t": 1.7e9}})
        put(run.annotations_json, {"added": [text, "three"], "removed": ["four"], "note": f"{text}\n{text}"})
        of = {"weights": text, "checkpoint": text, "split": text, "samples": 9, "timesteps": 4, "top1": 0.5, "t": 1.7e9}
        classes = [{"name": text, "samples": 9, "right": 5, "predicted": 9}]
        put(run.evaluation_json, {"by_class": {"of": of, "classes": classes, "confusions": [], "worst": []}})
        title = json.dumps(text.replace(chr(0xD800), ""))
        quick = "[data]\nbatch_size = 512\n[method]\ntimesteps = 1\n[train]\nepochs = 1\n"  # for commands that train it
        run.preset_toml.write_text(f"title = {title}\n{quick}")
        bodies: list[dict[str, Any]] = [
            {"kind": "run_start", "device": text, "host": text, "resumed_from": text, "logs": text, "epochs": 2},
            {"kind": "metrics", "epoch": 0, "loss": 1.0, "top1": 0.5, "lr": 0.1},
            {"kind": "validation", "epoch": 1, "loss": 1.0, "top1": 0.5, "top5": None, "samples": 9, "split": text}
            | {"weights": text},
            {"kind": "probe", "name": text, "values": {text: text, "layers": [text], "x": {text: 1.0}}},
            {"kind": "checkpoint", "name": text},
            {"kind": "warning", "message": text},
            {"kind": "error", "message": text, "traceback": f"{text}\n{text}", "cause": text},
            {"kind": "run_end", "status": text, "reason": text, "cause": text},
        ]
        envelope = {"v": 1, "t": 1.7e9, "attempt": 1, "rank": 0}
        put(run.events(), *(envelope | {"seq": number, "step": number} | body for number, body in enumerate(bodies)))
        for log in (run.stdout(), run.stderr()):
            log.write_bytes(f"\x1b[1;31mred\x1b[0m {text}\n".encode(errors="surrogatepass") * 3)
        return run

    return write


@pytest.fixture
def without_privileges() -> Iterator[None]:
    """Make permissions apply to root too, for files and processes, in this thread and its children, by capset(2)."""
    if os.geteuid() != 0:
        yield
        return
    before = _effective_capabilities()
    # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_KILL, CAP_SYS_PTRACE
    _set_effective_capabilities(before & ~(1 << 1 | 1 << 2 | 1 << 5 | 1 << 19))
    yield
    _set_effective_capabilities(before)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


def _capabilities() -> tuple[ctypes.CDLL, _Header, Any]:
    libc, header, sets = ctypes.CDLL(None, use_errno=True), _Header(0x20080522, 0), (_Sets * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())
    return libc, header, sets


def _effective_capabilities() -> int:
    return int(_capabilities()[2][0].effective)


def _set_effective_capabilities(effective: int) -> None:
    libc, header, sets = _capabilities()
    sets[0].effective = effective
    assert libc.capset(ctypes.byref(header), sets) == 0, os.strerror(ctypes.get_errno())
