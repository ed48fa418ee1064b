"""Why an attempt of a run has ended: what retries, exit codes and advice follow from."""

from enum import StrEnum


class Cause(StrEnum):
    """One cause for each thing that is done differently after it; the status says the rest, as killed or preempted."""

    # It has not ended, it has completed, or nobody knows: runs from before causes were written down.
    UNKNOWN = ""
    # Somebody asked for it: rbp stop, rbp kill, or a scheduler's signal. A resume goes on.
    REQUEST = "request"
    # A process was killed from outside, is gone without a word, or lost its connection to the others. It may be gone
    # when the run is started again, which is what retries are for.
    LOST_PROCESS = "lost_process"
    # Its process is still there and gives no sign of life: it has to be killed before a resume.
    UNRESPONSIVE = "unresponsive"
    # Memory did not suffice for the settings. They are frozen in the run: another run can have others.
    OUT_OF_MEMORY = "out_of_memory"
    # The loss, a gradient or a weight was NaN or infinite. Another run can have a lower rate.
    NON_FINITE = "non_finite"
    # The settings do not fit the data or the machine, as a batch larger than the data. Another run can have others.
    SETTINGS = "settings"
    # The user's own network or data set raised it. The run has a copy of the code: a corrected file is another run.
    OWN_CODE = "own_code"
    # Data are missing, damaged or not finite. A resume goes on once they are in order.
    DATA = "data"
    # The disk of the run is full or read-only. A resume goes on once it can be written.
    DISK = "disk"
    # A checkpoint cannot be gone on from. A resume goes on once what the reason says is done.
    CHECKPOINT = "checkpoint"
    # Any other exception, or the run could not be started. The log tells more.
    ERROR = "error"

    @classmethod
    def _missing_(cls, value: object) -> "Cause":
        return cls.UNKNOWN  # of a newer version, or of a damaged file

    @property
    def may_pass(self) -> bool:
        """Whether the run may be started again without anybody looking at it."""
        return self is Cause.LOST_PROCESS

    @property
    def wants_new_run(self) -> bool:
        """Whether a resume meets the same again, because it lies in what is frozen in the run."""
        return self in (Cause.OUT_OF_MEMORY, Cause.NON_FINITE, Cause.SETTINGS, Cause.OWN_CODE)
