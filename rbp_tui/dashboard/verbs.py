"""What a key means on every screen, and what may be done with a run when. A screen offers what it has an action for."""

from collections.abc import Callable
from dataclasses import dataclass

from textual.binding import Binding

from rbp_engine.run.cause import Cause
from rbp_engine.run.store.store import RunRecord


@dataclass(frozen=True)
class Verb:
    """An action with its key, the word for the footer, what help says beside it, and the name in the user's own keys.

    `may` says of which runs it may be done; None for what is done with a screen or a table. `action` is its
    action if that has another name.
    """

    name: str
    key: str
    does: str
    help: str = ""
    may: Callable[[RunRecord], bool] | None = None
    shown: bool = False
    action: str = ""

    @property
    def binding(self) -> Binding:
        """The key, for Textual."""
        action = self.action or self.name
        return Binding(self.key, action, self.does, show=self.shown, tooltip=self.help, id=self.name)


def _always(record: RunRecord) -> bool:
    return True


def may_kill(record: RunRecord, processes: bool = True) -> bool:
    """Whether rbp has processes of a run to end; of one that has ended it says so only to who looks for them."""
    return (record.verdict.live or record.verdict.status == "lost" or processes) and not record.summary.program


def may_resume(record: RunRecord) -> bool:
    """Whether a run can go on, or be trained for longer."""
    # The run's own copy of the code has the fault, and a resume runs that copy.
    resumable = record.verdict.resumable and record.verdict.cause is not Cause.OWN_CODE
    return not record.summary.program and (resumable or record.verdict.status == "completed")


def has_settings(record: RunRecord) -> bool:
    """Whether rbp can train a run with its settings: another program's has none of rbp's."""
    return not record.summary.program or bool(record.summary.preset)


#: The twelve verbs of runs, and after them the gestures.
VERBS = (
    Verb(
        "stop",
        "s",
        "stop",
        "after saving",
        lambda record: record.verdict.live and record.verdict.status != "stopping",
        shown=True,
    ),
    Verb("kill", "k", "kill", "at once, without saving", may_kill),
    Verb("resume", "r", "resume", "from the last checkpoint, or for more epochs", may_resume, shown=True),
    Verb("again", "C", "copy", "into the launch form", has_settings),
    Verb("compare", "c", "compare", may=_always, shown=True),
    Verb("pin", "b", "baseline", "for the others, marked ◆; press again to undo", _always),
    Verb("sweep", "w", "sweep", "of this run, as a table", _always),
    Verb("tag", "t", "tags", may=_always),
    Verb("note", "n", "note", may=_always),
    Verb("archive", "A", "archive", "or bring back from it", _always),
    Verb("trash", "x", "trash", "can be undone with u", lambda record: not record.verdict.live),
    Verb("undo", "u", "undo", "the last move to the trash or the archive"),
    Verb("mark", "space", "mark", "and move down; keys then act on all that are marked", shown=True),
    Verb("find", "slash", "find", shown=True),
    Verb("back", "escape", "back"),
    Verb("before", "less_than_sign", "previous", "run, or column to sort by", action="step(-1)"),
    Verb("next", "greater_than_sign", "next", "run, or column to sort by", action="step(1)"),
    Verb("turn", "i", "reverse the order"),
    Verb("view", "v", "view", "the next tab, curve or log", shown=True),
    Verb("zoom", "z", "zoom", "the focused chart alone"),
    Verb("group", "g", "group", "the runs of an experiment together"),
    Verb("axis", "h", "axis", "over epochs, steps or time"),
)
#: By the names of their actions.
BY_NAME = {(verb.action or verb.name).partition("(")[0]: verb for verb in VERBS}
