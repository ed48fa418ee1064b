"""Why an attempt of a run has ended; retries, exit codes and advice follow from it."""

from enum import StrEnum


class Cause(StrEnum):
    """Causes that call for different reactions; the status distinguishes the rest, such as killed and preempted."""

    # It has not ended, it has completed, or the cause is unknown.
    UNKNOWN = ""
    # It was asked for: rbp stop, rbp stop --now, or a scheduler's signal. A resume continues.
    REQUEST = "request"
    # A search has stopped it, because others do better. Its result counts as it is; a resume trains it to its end.
    PRUNED = "pruned"
    # It has completed before its last epoch, since the score had not improved for as long as its guard says.
    EARLY_STOP = "early_stop"
    # Its guard's budget of time or steps is used up. A resume continues with a larger one.
    BUDGET = "budget"
    # A process was killed from outside, died without a report, or lost its connection to the others. The fault may not
    # return at the next start, which is what retries are for.
    LOST_PROCESS = "lost_process"
    # Its process still exists but sends no heartbeat: it must be killed before a resume.
    UNRESPONSIVE = "unresponsive"
    # The settings need more memory than there is. They are frozen in the run; a new run can change them.
    OUT_OF_MEMORY = "out_of_memory"
    # The loss, a gradient or a weight was NaN or infinite. A new run can have a lower learning rate.
    NON_FINITE = "non_finite"
    # The settings do not fit the data or the machine, as a batch larger than the data set. A new run can change them.
    SETTINGS = "settings"
    # The user's own network, data set or metrics raised it. The run has a copy of that code: a corrected file needs a
    # new run.
    OWN_CODE = "own_code"
    # Data are missing, damaged or not finite. A resume continues once they are repaired.
    DATA = "data"
    # The disk of the run is full or read-only. A resume continues once it is writable.
    DISK = "disk"
    # A checkpoint cannot be used. A resume continues once the user has done what the reason says.
    CHECKPOINT = "checkpoint"
    # Any other exception, or the run could not be started. The log has the details.
    ERROR = "error"

    @classmethod
    def _missing_(cls, value: object) -> "Cause":
        return cls.UNKNOWN  # from a newer version, or a damaged file

    @property
    def is_transient(self) -> bool:
        """Whether the run may be restarted without a user's decision."""
        return self is Cause.LOST_PROCESS

    @property
    def can_be_asked_for(self) -> bool:
        """Whether a run ends with this cause if the request to stop it says so."""
        return self in (Cause.REQUEST, Cause.PRUNED, Cause.BUDGET)

    @property
    def wants_new_run(self) -> bool:
        """Whether a resume would fail the same way, because the cause lies in what is frozen in the run."""
        return self in (Cause.OUT_OF_MEMORY, Cause.NON_FINITE, Cause.SETTINGS, Cause.OWN_CODE)
