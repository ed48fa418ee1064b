"""What has happened since the dashboard was left, in a line."""

import time
from collections import Counter
from collections.abc import Iterable

from rbp_engine.run.status import ENDED
from rbp_engine.run.store import RunRecord

WORDS = {"completed": "done"}


def since_you_left(records: Iterable[RunRecord], left_at: float) -> str:
    """`Since you left (18:40): 2 done, 1 failed: out of memory`; empty if nothing ended, or on a first visit."""
    if not left_at:
        return ""
    ended = [
        record for record in records if record.verdict.status in ENDED | {"lost"} and record.summary.updated > left_at
    ]
    if not ended:
        return ""
    counts = Counter(record.verdict.status for record in ended)
    parts = [f"{count} {WORDS.get(status, status)}" for status, count in counts.items()]
    reasons = [record.verdict.reason for record in ended if record.verdict.status in ("failed", "lost")]
    why = f": {reasons[-1]}" if reasons and reasons[-1] else ""
    return f"Since you left ({_when(left_at)}): {', '.join(parts)}{why}"


def _when(moment: float) -> str:
    then, now = time.localtime(moment), time.localtime()
    clock = time.strftime("%H:%M", then)
    if then[:3] == now[:3]:
        return clock
    return f"{time.strftime('%d %b', then)} {clock}"
