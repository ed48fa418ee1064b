"""`rbp train --same`: train a run once more, and say whether the result is the same to the last bit."""

import functools
import os
import re
import sys
from dataclasses import asdict, replace
from typing import Any

from rbp_engine.report.sameness import Sameness, compare_results
from rbp_engine.run import start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import load_summary, refuse_other_program
from rbp_engine.run.request import LaunchRequest
from rbp_engine.run.status.status import judge
from rbp_tui.cli.output import print_json, say
from rbp_tui.cli.train.following import exit_code, follow_live
from rbp_tui.cli.train.results import print_result
from rbp_tui.cli.trust import once_trusted
from rbp_tui.text import format as fmt

THREADS = "OMP_NUM_THREADS"
NOT_THE_SAME = 1


def train_the_same(original: RunDirectory, *, trust: bool, as_json: bool) -> int:
    """Train a completed run again, with the same settings, code, seed, processes and threads, and compare the two.

    The exit code is that of the new run; of one that has completed 0 if the result is the same, else 1.
    """
    request = replace(_request(original), typed=("rbp", *sys.argv[1:]))
    _use_as_many_threads(original)
    started = once_trusted(functools.partial(start.start_runs, request), trust=trust)
    (again,) = started.runs
    (verdict,) = follow_live([again], as_json=False, owner=True, silent=as_json)
    if started.worker is not None:
        started.worker.wait()
    found = compare_results(original, again) if verdict.status == "completed" else None
    if as_json:
        same = {"same": None} if found is None else _plain(found)
        print_json({"original": original.id, "again": again.id, "status": verdict.status} | same)
    elif found is None:
        print_result(again, verdict)
    else:
        _print(found, original, again)
    return exit_code(verdict) if found is None else 0 if found.same else NOT_THE_SAME


def _request(original: RunDirectory) -> LaunchRequest:
    """The request to train it again. Raises RunError for a run that no other can repeat."""
    summary, status = load_summary(original), judge(original).status
    refuse_other_program(original)
    if status != "completed":
        raise RunError(f"{original.id} is {status}: only a completed run has a result to repeat")
    if summary.origin:
        raise RunError(
            f"{original.id} goes on from {summary.origin}, {summary.origin_epochs} to {summary.epochs} epochs: no run "
            f"from the start repeats that. A new run of {summary.epochs} epochs: rbp train --like {original.id}"
        )
    return LaunchRequest.like(original)


def _use_as_many_threads(original: RunDirectory) -> None:
    """Have as many threads as the run had, unless the user says how many: sums in another order round differently."""
    attempt = last_attempt(original)
    threads = attempt.environment.get(THREADS, "") if attempt else ""
    if re.fullmatch(r"[1-9][0-9]{0,3}", threads):
        os.environ.setdefault(THREADS, threads)


def _print(found: Sameness, original: RunDirectory, again: RunDirectory) -> None:
    if found.same:
        say("[bold green]the same[/] to the last bit: {} and {}", original.id, again.id)
    else:
        say("[bold red]not the same[/]: {} and {}", original.id, again.id)
    parting = found.parting
    if parting is None:
        say("  {} metrics and evaluations: the same", found.measured)
    else:
        values = f"{_value(parting.original)} there, {_value(parting.again)} now"
        say("  they part at step {}: {} of {}: {}", parting.step, parting.field, parting.kind, values)
    for one in found.weights:
        result = "the same" if one.same else f"differ, first in {one.first}" if one.there else "not there to compare"
        say("  weights, {}: {}", one.name, result)
    if found.same:
        return
    for condition in found.conditions:
        say("  may be why: {}: {} there, {} now", condition.name, condition.original, condition.again)
    if not found.conditions:
        say("  no recorded condition differs; on a GPU, some kernels add in another order each time")


def _value(value: Any) -> str:
    return fmt.number(value, 9) if isinstance(value, float) else str(value)


def _plain(found: Sameness) -> dict[str, Any]:
    weights = [asdict(one) | {"same": one.same if one.there else None} for one in found.weights]
    return {"same": found.same} | asdict(found) | {"weights": weights}
