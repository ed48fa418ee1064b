"""What has happened since the user last quit the dashboard, in one line."""

import time
from collections import Counter
from collections.abc import Collection, Iterable

from rbp_engine.printable import one_line
from rbp_engine.run.status.status import ENDED
from rbp_engine.run.store.store import RunRecord

WORDS = {"completed": "done"}


def since_you_left(records: Iterable[RunRecord], left_at: float, left_live: Collection[str] = ()) -> str:
    """`Since you left (18:40): 2 done · 1 failed: out of memory`; empty if nothing ended, or on a first visit.

    It counts ended runs that were live when the user quit (`left_live`), or that are newer.
    """
    if not left_at:
        return ""
    ended = [
        record
        for record in records
        if record.verdict.status in ENDED | {"lost"}
        and (record.run.id in left_live or record.summary.updated > left_at)
    ]
    counts = Counter(record.verdict.shown_status for record in ended)
    if not counts:
        return ""
    parts = []
    for status, count in counts.items():
        reasons = [*{one_line(record.verdict.reason) for record in ended if record.verdict.shown_status == status}]
        why = f": {reasons[0]}" if status in ("failed", "lost") and len(reasons) == 1 and any(reasons) else ""
        parts.append(f"{count} {WORDS.get(status, status)}{why}")
    return f"Since you left ({_when(left_at)}): {' · '.join(parts)}"


def _when(moment: float) -> str:
    try:
        then = time.localtime(moment)
    except (OverflowError, ValueError, OSError):  # the state file is damaged
        return "some time ago"
    now = time.localtime()
    clock = time.strftime("%H:%M", then)
    return clock if then[:3] == now[:3] else f"{time.strftime('%d %b', then)} {clock}"
