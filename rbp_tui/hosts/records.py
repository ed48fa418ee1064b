"""What another host's rbp says of its runs, as records: from its JSON, checked like a file of somebody else's."""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from rbp_engine.codec import convert
from rbp_engine.printable import visible
from rbp_engine.run.cause import Cause
from rbp_engine.run.files.annotations import Annotations
from rbp_engine.run.files.layout import ID, RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.status.status import Verdict
from rbp_engine.run.store.store import RunRecord

#: Of one host, the newest: with all that a host could send within its bounds a table would stand still for minutes.
MOST_RUNS = 5000
#: No folder of this machine: whatever looks for a file of such a run finds none.
NOWHERE = Path("/dev/null")


def _record_of(value: Any, host: str) -> RunRecord:
    """The record of a run from `rbp ls --json` of that host. Raises ValueError if it is none."""
    summary = convert(Summary, value)
    if not ID.fullmatch(summary.id):
        raise ValueError("it has no id")
    note = value.get("note")
    annotations = Annotations(note=visible(note if isinstance(note, str) else ""))
    verdict = Verdict(summary.status, summary.reason, Cause(summary.cause))
    return RunRecord(RunDirectory(NOWHERE / host / f"{host}:{summary.id}"), summary, verdict, annotations)


def records_of(value: Any, host: str) -> Iterator[RunRecord]:
    """The records of the last MOST_RUNS in the answer of `rbp ls --json`, without what is none.

    Their ids begin with the name of the host.
    """
    for item in value[-MOST_RUNS:] if isinstance(value, list) else ():
        with suppress(ValueError):
            yield _record_of(item, host)


def host_of(record: RunRecord) -> str:
    """The name of the host in whose list a record was; empty for a run of this machine's runs directory."""
    folder = record.run.path.parent
    return folder.name if folder.parent == NOWHERE else ""
