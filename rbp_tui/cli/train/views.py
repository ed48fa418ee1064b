"""How runs are shown that are being followed: what a view is, and those that only add lines to stdout."""

import json
import sys
from collections.abc import Sequence
from contextlib import suppress

from rbp_engine.printable import in_json, json_line, one_line
from rbp_engine.run.store.store import RunRecord
from rbp_tui.cli.output import print_line


class View:
    """Shows one run or several while they are followed; this one shows nothing, as of all nodes of a run but one."""

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        """The events of one of them that have come, as they stand in the file."""

    def show(self, records: Sequence[RunRecord]) -> None:
        """The state of all of them now."""


class JsonLines(View):
    """The events on stdout, one JSON object a line, control characters escaped: those of one run as they stand in the
    file, those of several with the id of their run."""

    def __init__(self, *, several: bool = False) -> None:
        self._several = several

    def lines(self, record: RunRecord, lines: list[bytes]) -> None:
        for line in lines:
            if not self._several:
                print_line(json_line(line))
                continue
            with suppress(ValueError):
                event = json.loads(line)
                if isinstance(event, dict):
                    print_line(one_line(in_json(json.dumps({"run": record.run.id} | event, ensure_ascii=False))))
        sys.stdout.flush()
