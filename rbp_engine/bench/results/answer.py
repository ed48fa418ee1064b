"""How a measuring process answers: JSON on stdout, errors as messages, and a traceback only for bugs of ours.

The last line is the answer. Each line before it says what is measured next: {"doing": text, "share": fraction of the
whole that is done, by the usual durations}. Output of the user's own code is discarded, and so is torch's warning that
there is no Triton, which no CPU needs.
"""

import contextlib
import json
import logging
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TextIO

from rbp_engine.errors import UserError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.spiking.errors import UnsupportedOperation
from rbp_engine.user_code import is_from_library, own_frames

#: Says what is measured next, and the share of the whole that is done.
Say = Callable[[str, float], None]

logging.getLogger("torch._library.triton").setLevel(logging.ERROR)


def explain(error: BaseException, own_code: Path) -> str:
    """The message of an error, with file and line if it comes from the user's own code, in the folder `own_code`."""
    text = str(error).strip() or type(error).__name__
    frames = own_frames(error, own_code)
    if frames and not isinstance(error, UnsupportedOperation):
        return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}: {type(error).__name__}: {text}"
    if isinstance(error, (UserError, UnsupportedOperation, ValueError, OSError)):
        return text
    if is_from_library(error):
        advice = "Take other images (--input), another network, or model.args that fit"
        return f"{type(error).__name__}: {text.rstrip('.!')}. {advice}"
    traceback.print_exc()
    return f"{type(error).__name__}: {text}"


@contextlib.contextmanager
def answers_only() -> Iterator[TextIO]:
    """The stdout for answers; whatever else prints to stdout meanwhile is discarded."""
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield sys.__stdout__ or nowhere


def answer(run: RunDirectory, measure: Callable[[RunDirectory, Say], dict[str, Any]]) -> int:
    """Print the result of `measure`, or the `problem`; returns the exit code."""
    with answers_only() as out:

        def say(doing: str, share: float) -> None:
            _print(out, {"doing": doing, "share": share})

        try:
            result = measure(run, say)
        except (Exception, SystemExit) as error:
            result = {"problem": explain(error, run.code)}
        _print(out, result)
    return 1 if "problem" in result else 0


def _print(out: TextIO, value: dict[str, Any]) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()
