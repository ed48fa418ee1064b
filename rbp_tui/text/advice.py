"""What to do about a run that has ended, where a resume alone does not help: commands and dashboard say the same."""

from rbp_engine.run.cause import Cause

#: Why a resume meets the same again.
WHY_RESUME_FAILS = {
    Cause.OUT_OF_MEMORY: "a resume, with the same settings, takes as much",
    Cause.NON_FINITE: "a resume, with the same settings, ends the same",
    Cause.SETTINGS: "a resume, with the same settings, ends the same",
    Cause.OWN_CODE: "correct the file first; a resume runs the copy of it that the run keeps",
}
#: What has to be so before a resume can go on.
RESUME_CONDITIONS = {
    Cause.DATA: "once the data are in order",
    Cause.DISK: "once its disk can be written",
    Cause.CHECKPOINT: "once what the reason says is done",
    Cause.ERROR: "if neither its settings nor its code were at fault",
    Cause.UNRESPONSIVE: "once it is killed",
}
