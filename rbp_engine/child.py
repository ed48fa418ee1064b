"""Run a computation in a child process, and read its answers.

The child prints JSON objects, one a line: {"doing": text, "share": fraction of the whole that is done, by the usual
durations} says what comes next, {"problem": text} why there is no answer, and any other object is one. What else it
prints is skipped. `ask` and `Child` are the side that asks, without torch; `answer` and `answer_each` the child's.
"""

import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rbp_engine.errors import UserError
from rbp_engine.untrusted_files import JSON_LIMIT, parse_json
from rbp_engine.user_code import is_from_library, place_in_own_code

LOOK_EVERY_S = 0.2
# Of what a child without an answer has said to the terminal, the last line is quoted from so many bytes.
SAID_LIMIT = 2**16
# A child that has answered gets so long to end by itself.
LEAVE_S = 10.0

#: Called with what is done next, in words, and the share of the whole that is done, by the usual durations.
Progress = Callable[[str, float], None]


def no_progress(doing: str, share: float) -> None:
    """Tell nobody."""


def stage(on_progress: Progress, number: int, of: int, words: str = "") -> Progress:
    """The progress of stage `number`, from 0, of several; `words` stand before what it does."""
    return lambda doing, share: on_progress(f"{words}{doing}", (number + share) / of)


class ChildError(UserError):
    """A child process has not answered; the message says why."""

    exit_code = 1


class Child:
    """A process that prints answers, until `close` kills it.

    `environment` is all of its own, and `what` is it called in errors. `cancelled` is polled for whether to give up.
    With `quiet` no other output of the process reaches the terminal, which may be showing the dashboard.
    """

    def __init__(
        self,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        what: str = "the measurement",
        cancelled: Callable[[], bool] = lambda: False,
        quiet: bool = False,
        on_progress: Progress = no_progress,
    ) -> None:
        self._what, self._cancelled, self._on_progress = what, cancelled, on_progress
        self._unsaid = "it said nothing" if quiet else "what it said stands above"
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # `close` closes it
        self.process = subprocess.Popen(
            command,
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said if quiet else None,
            env=environment,
            start_new_session=True,  # Ctrl-C goes only to the asking process, which ends this one
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self._lines = self.process.stdin, self._read(self.process.stdout.fileno())

    def close(self) -> None:
        """Kill the process."""
        with self._said, self.process:
            self.process.kill()

    def send(self, line: str) -> None:
        """Ask for another answer. Of a process that is gone, `answer` says how it ended."""
        with contextlib.suppress(BrokenPipeError):
            self.stdin.write(f"{line}\n".encode())

    def answer(self) -> dict[str, Any]:
        """The next answer. Raises ChildError for a problem, an end without an answer, and once it is cancelled."""
        for line in self._lines:
            value: Any = None
            with contextlib.suppress(ValueError):
                value = parse_json(line)
            match value:
                case {"doing": str(doing), "share": float() | int() as share}:
                    self._on_progress(doing, share)
                case {"problem": problem}:
                    raise ChildError(str(problem))
                case dict():
                    return value
        raise ChildError(self._ending())

    def _read(self, stdout: int) -> Iterator[bytes]:
        """The lines on stdout, of JSON_LIMIT bytes at most. Raises ChildError for a longer one, and once cancelled."""
        pending = b""
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            while len(pending) <= JSON_LIMIT:
                if selector.select(LOOK_EVERY_S):
                    chunk = os.read(stdout, 2**16)
                    *lines, pending = (pending + chunk).split(b"\n")
                    yield from lines
                    if not chunk:
                        return
                if self._cancelled():
                    raise ChildError(f"{self._what} was given up")
        raise ChildError(f"{self._what} printed a line of more than {JSON_LIMIT} bytes")

    def _ending(self) -> str:
        """Why there is no answer, from the exit code and what was said."""
        code = self.process.wait()
        if code == -signal.SIGKILL:
            return f"{self._what} was killed, probably because the memory was full: try a smaller batch"
        self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - SAID_LIMIT))
        said = self._said.read().decode(errors="replace").split("\n")
        last = next((line.strip() for line in reversed(said) if line.strip()), self._unsaid)
        return f"{self._what} ended with exit code {code}: {last}"


def ask(command: Sequence[str], environment: Mapping[str, str], **settings: Any) -> dict[str, Any]:
    """The one answer of a command; the settings are those of `Child`. Raises ChildError as `Child.answer` does."""
    with contextlib.closing(Child(command, environment, **settings)) as child:
        child.stdin.close()
        found = child.answer()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.process.wait(LEAVE_S)
        return found


def answer(compute: Callable[[Progress], dict[str, Any]], own_code: Path) -> int:
    """Print what `compute` returns, as `answer_each` does."""
    return answer_each(lambda progress: [compute(progress)], own_code)


def answer_each(compute: Callable[[Progress], Iterable[dict[str, Any]]], own_code: Path) -> int:
    """Print each answer, or the problem that an error is; returns the exit code.

    `compute` is given what prints its progress. `own_code` is the folder with the user's own code: its output is
    discarded, and so are torch's warnings that there is no Triton and no CUDA, which no CPU needs.
    """
    for name in ("torch._library.triton", "torch.utils.cpp_extension"):
        logging.getLogger(name).setLevel(logging.ERROR)
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        out = sys.__stdout__ or nowhere

        def say(value: dict[str, Any]) -> None:
            out.write(json.dumps(value) + "\n")
            out.flush()

        try:
            for found in compute(lambda doing, share: say({"doing": doing, "share": share})):
                say(found)
        except BrokenPipeError:  # the asking process is gone
            return 1
        except (Exception, SystemExit) as error:
            say({"problem": explain(error, own_code)})
            return 1
    return 0


def explain(error: BaseException, own_code: Path) -> str:
    """The message of an error, by its type; with file and line if it comes from the user's own code, in `own_code`.

    An error that is neither the user's nor a library's is a bug of ours, whose traceback goes to stderr.
    """
    text = str(error).strip() or type(error).__name__
    # An operation without a rule: its message says where it stands. To import its class would load torch.
    is_unsupported = type(error).__module__ == "rbp_engine.spiking.errors"
    place = place_in_own_code(error, own_code)
    if place and not is_unsupported:
        return f"{place}: {type(error).__name__}: {text}"
    if is_unsupported or isinstance(error, (UserError, ValueError, OSError)):
        return text
    if is_from_library(error):
        advice = "Take other images (--input), another network, or model.args that fit"
        return f"{type(error).__name__}: {text.rstrip('.!')}. {advice}"
    traceback.print_exception(error)
    return f"{type(error).__name__}: {text}"
