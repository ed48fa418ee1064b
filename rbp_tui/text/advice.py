"""Advice on ended runs that a resume alone does not help, shared by commands and dashboard."""

from rbp_engine.run.cause import Cause

#: Why a resume would fail again.
WHY_RESUME_FAILS = {
    Cause.OUT_OF_MEMORY: "a resume needs as much memory",
    Cause.NON_FINITE: "a resume would fail the same way",
    Cause.SETTINGS: "a resume would fail the same way",
    Cause.OWN_CODE: "correct the file first; a resume runs the copy that the run keeps",
}
#: What must be true before a resume can continue.
RESUME_CONDITIONS = {
    Cause.PRUNED: "to train it to its end after all",
    Cause.BUDGET: "once its budget is larger: rbp resume RUN guard.max_time=8h",
    Cause.DATA: "once the data are in order",
    Cause.DISK: "once its disk is writable",
    Cause.CHECKPOINT: "once you have done what the reason says",
    Cause.ERROR: "if neither its settings nor its code were at fault",
    Cause.UNRESPONSIVE: "once it is killed",
}
