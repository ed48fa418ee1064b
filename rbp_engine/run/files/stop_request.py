"""`control/stop`: the request to save and end, and why somebody asks."""

from dataclasses import dataclass, replace

from rbp_engine.printable import NO_TEXT, Line, one_line
from rbp_engine.run.cause import Cause
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import RunDirectory, json_text, read_record

LONGEST_REASON = 300


@dataclass(frozen=True)
class StopRequest:
    """The `cause` and the reason with which the run is to end; without a reason, that it was asked to."""

    cause: Cause = Cause.REQUEST
    reason: Line = NO_TEXT

    @property
    def sentence(self) -> str:
        """The reason for lists and logs."""
        return self.reason or ("pruned" if self.cause is Cause.PRUNED else "asked to stop")


PLAIN = StopRequest()


def write_stop_request(run: RunDirectory, request: StopRequest) -> None:
    """Ask the run to stop; an earlier request stands. Raises OSError."""
    if request == PLAIN or run.stop_request.exists():
        inside.touch(run.stop_request, run.path)
        return
    text = json_text({"cause": request.cause, "reason": one_line(request.reason, LONGEST_REASON)})
    with inside.folder(run.control, run.path) as control:
        control.replace(run.stop_request.name, text)


def read_stop_request(run: RunDirectory) -> StopRequest:
    """The request as it was written; the plain one if the file is empty, as that of a shell, or not valid."""
    written = read_record(StopRequest, run.stop_request, PLAIN)
    reason = one_line(written.reason, LONGEST_REASON)
    return replace(written, reason=reason) if written.cause.can_be_asked_for else PLAIN
