"""Actions on several runs at once: mark, stop, kill, resume, compare, tag, archive, move to the trash and back."""

from collections.abc import Sequence
from typing import ClassVar

from textual import work
from textual.binding import Binding, BindingType

from rbp_engine.run.files.annotations import change_tags, set_archived, tag_words
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.store.store import RunRecord
from rbp_engine.run.store.trash import move_to_trash, restore
from rbp_tui.dashboard.dialogs import Ask
from rbp_tui.dashboard.messages import CompareRuns, PresetFromRun, RunAgain, SweepOfRun
from rbp_tui.dashboard.runs.elsewhere import only_there
from rbp_tui.dashboard.runs.queue_actions import QueueActions
from rbp_tui.dashboard.runs.rows import Rows
from rbp_tui.dashboard.runs.table import RunTable
from rbp_tui.dashboard.session import Session
from rbp_tui.hosts.records import host_of
from rbp_tui.text.format import counted
from rbp_tui.text.run_text import named


class RunActions(QueueActions):
    """The keys of the Runs screen that act on the marked runs, or on those under the cursor if none is marked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("space", "mark", "mark", id="runs.mark"),
        Binding("a", "mark_all", "mark all", id="runs.mark_all", show=False),
        Binding("c", "compare", "compare", id="runs.compare"),
        Binding("w", "sweep", "sweep", id="runs.sweep", tooltip="the table of the sweep it belongs to", show=False),
        Binding("s", "stop", "stop", id="runs.stop"),
        Binding("k", "kill", "kill", id="runs.kill", show=False),
        Binding("r", "resume", "resume", id="runs.resume"),
        Binding("C", "again", "run again, changed", id="runs.again", show=False),
        Binding("P", "preset", "make a preset of it", id="runs.preset", show=False),
        Binding("t", "tag", "tag", id="runs.tag"),
        Binding("n", "note", "note", id="runs.note", show=False),
        Binding("A", "archive", "archive, or bring back", id="runs.archive", show=False),
        Binding("x", "trash", "trash", id="runs.trash"),
        Binding("u", "undo", "undo trash", id="runs.undo", show=False),
    ]

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.rows = Rows()
        self.marked: set[str] = set()
        self._trashed: list[list[RunDirectory]] = []  # together, the last ones last

    @property
    def shown(self) -> Sequence[RunRecord]:
        """The runs in the table, in order."""
        return self.rows.records

    @property
    def under_cursor(self) -> set[str]:
        """The run under the cursor, or the runs of the group there."""
        key = self.query_one(RunTable).current
        return set() if key is None else set(self.rows.groups.get(key, (key,)))

    def make_rows(self) -> None:
        """Make the rows of the table anew."""
        raise NotImplementedError

    @property
    def marked_shown(self) -> list[RunRecord]:
        """The marked runs that the filter does not hide."""
        return [record for record in self.shown if record.run.id in self.marked]

    @property
    def targets(self) -> list[RunRecord]:
        """The runs that an action applies to; never a hidden one, nor one of another host."""
        here = self.under_cursor
        return self.marked_shown or [record for record in self.local if record.run.id in here]

    @property
    def local(self) -> list[RunRecord]:
        """The runs in the table that are in the runs directory of this dashboard."""
        return [record for record in self.shown if not host_of(record)]

    def refuses_elsewhere(self) -> bool:
        """Whether the run under the cursor is another host's, where nothing can be done with it; says so."""
        here = self.under_cursor
        why = only_there(record for record in self.shown if record.run.id in here)
        if why:
            self.notify(why, severity="warning", timeout=8, markup=False)
        return bool(why)

    def action_mark(self) -> None:
        """Mark the run, for what is then done to all that are marked."""
        if not self.refuses_elsewhere():
            self._toggle_marks(self.under_cursor)
        self.query_one(RunTable).action_cursor_down()

    def action_mark_all(self) -> None:
        """Mark all runs that are shown, or none of them."""
        self._toggle_marks({record.run.id for record in self.local})

    def _toggle_marks(self, runs: set[str]) -> None:
        self.marked = self.marked - runs if runs <= self.marked else self.marked | runs
        self.make_rows()

    def action_compare(self) -> None:
        """Compare the runs."""
        if not self.marked_shown and self.refuses_elsewhere():
            return
        self.post_message(CompareRuns([record.run.id for record in self.targets]))

    def action_stop(self) -> None:
        """Let the runs save and end."""
        live = [record for record in self.targets if record.verdict.live]
        if self.any_of(live, "stop"):
            self.stop_runs(_folders(live))

    def action_kill(self) -> None:
        """End the runs at once."""
        there = [record for record in self.targets if record.verdict.live or record.verdict.status == "lost"]
        if self.any_of(there, "kill"):
            self.kill_runs(_folders(there))

    def action_resume(self) -> None:
        """Go on with the runs from their newest checkpoints; with completed ones for more epochs."""
        resumable = [record for record in self.targets if record.verdict.resumable]
        ours = [record for record in self.targets if not record.summary.program]
        completed = [record for record in ours if record.verdict.status == "completed"]
        if completed and not resumable:
            self.train_longer(_folders(completed))
        elif self.any_of(resumable, "resume"):
            self.resume_runs(_folders(resumable))

    def action_again(self) -> None:
        """Launch another run with the settings of the one under the cursor, changed."""
        for run_id in self._one_under_cursor():
            self.post_message(RunAgain(run_id))

    def action_sweep(self) -> None:
        """Show the table of the sweep that the run under the cursor belongs to."""
        for run_id in self._one_under_cursor():
            self.post_message(SweepOfRun(run_id))

    def action_preset(self) -> None:
        """Write the settings of the run under the cursor as a preset, and edit that."""
        for run_id in self._one_under_cursor():
            self.post_message(PresetFromRun(run_id))

    def _one_under_cursor(self) -> list[str]:
        """The run under the cursor, of a group its first; none in an empty table."""
        if self.refuses_elsewhere():
            return []
        here = self.under_cursor
        return [record.run.id for record in self.shown if record.run.id in here][:1]

    @work
    async def action_tag(self) -> None:
        """Change the tags of the runs."""
        runs = _folders(self.targets)
        if not runs:
            self.refuses_elsewhere()
        if len(runs) == 1:
            self.edit_tags(runs[0])
        elif runs:
            question = f"Tags of {named(runs)}: +word is added, -word is taken away"
            words = await self.app.push_screen_wait(Ask(question, ""))
            tags = tag_words((words or "").split())
            added = [*tags.plain, *tags.added]
            if added or tags.removed:
                self.act_on(runs, lambda run: change_tags(run, added, tags.removed), lambda which: f"tagged {which}")

    def action_note(self) -> None:
        """Write a note on the run."""
        if self.targets:
            self.edit_note(self.targets[0].run)
        else:
            self.refuses_elsewhere()

    def action_archive(self) -> None:
        """Keep the runs out of the way; if all of them are in the archive, bring them back."""
        if not self.targets:
            self.refuses_elsewhere()
            return
        there = [record for record in self.targets if not record.annotations.archived]
        if there:
            self.act_on(
                _folders(there),
                lambda run: set_archived(run, archived=True),
                lambda which: f"archived {which}; the filter archived shows what is there, and A brings it back",
            )
        elif self.targets:
            self.act_on(
                _folders(self.targets),
                lambda run: set_archived(run, archived=False),
                lambda which: f"{which} back from the archive",
            )

    def action_trash(self) -> None:
        """Move the runs to the trash."""
        targets = self.targets
        ended = [record for record in targets if not record.verdict.live]
        if self.any_of(ended, "move to the trash"):
            together: list[RunDirectory] = []
            self._trashed.append(together)
            live = len(targets) - len(ended)
            stays = f"; {counted(live, 'run')} still going, stop or kill first" if live else ""
            self.act_on(
                _folders(ended),
                lambda run: together.append(move_to_trash(run).run),
                lambda which: f"moved {which} to the trash, u undoes it{stays}",
            )

    def action_undo(self) -> None:
        """Bring back what was moved to the trash last, then what was before, as far as this dashboard did it."""
        trashed: list[RunDirectory] = []
        while self._trashed and not trashed:
            trashed = self._trashed.pop()
        if trashed:
            self.act_on(trashed, lambda run: restore(self.session.runs, run.id), lambda which: f"brought back {which}")
        else:
            self.notify("nothing to undo: rbp runs restore brings back what was moved to the trash earlier")

    def any_of(self, fitting: Sequence[RunRecord], verb: str) -> bool:
        """Whether there is anything to do; if not, notify the user why."""
        targets = self.targets
        if not targets:
            self.refuses_elsewhere()
        if not fitting and targets:
            are = f"{targets[0].run.id} is" if len(targets) == 1 else f"all {len(targets)} runs are"
            statuses = ", ".join(sorted({record.verdict.status for record in targets}))
            self.notify(f"nothing to {verb}: {are} {statuses}", severity="warning", markup=False)
        return bool(fitting)


def _folders(records: Sequence[RunRecord]) -> list[RunDirectory]:
    return [record.run for record in records]
