"""Actions on runs that several screens share: stop, kill, resume, tag, and write a note."""

from collections.abc import Callable, Sequence

from textual import work

from rbp_engine.errors import UserError
from rbp_engine.run import control, start
from rbp_engine.run.files.annotations import change_tags, note_as_written, read_annotations, set_note, tag_words
from rbp_engine.run.files.layout import RunDirectory
from rbp_tui.dashboard.dialogs import Ask, Confirm
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.text.format import counted
from rbp_tui.text.run_text import named

FAULTS_SHOWN = 3


class RunControlScreen(DashboardScreen):
    """A screen with actions on runs."""

    @work
    async def stop_runs(self, runs: Sequence[RunDirectory]) -> None:
        """Ask the runs to save and end, after a question."""
        they, them = ("It", "it") if len(runs) == 1 else ("They", "them")
        text = f"Stop {named(runs)}? {they} will save a checkpoint and end; r resumes {them}."
        if await self.app.push_screen_wait(Confirm(text, "stop")):
            self.act_on(runs, control.request_stop, lambda which: f"asked {which} to stop")

    @work
    async def kill_runs(self, runs: Sequence[RunDirectory]) -> None:
        """End the runs at once, after a question."""
        whose = "its" if len(runs) == 1 else "the"
        text = f"Kill {named(runs)}? What came after {whose} last checkpoint is lost."
        if await self.app.push_screen_wait(Confirm(text, "kill")):
            self.act_on(runs, control.kill, lambda which: f"killed {which}")

    def resume_runs(self, runs: Sequence[RunDirectory]) -> None:
        """Go on with the runs from their newest checkpoints."""
        self.act_on(runs, start.begin, lambda which: f"resuming {which}")

    @work
    async def train_longer(self, runs: Sequence[RunDirectory]) -> None:
        """Ask to how many epochs completed runs are to train on, and go on with them."""
        known = (record for run in runs if (record := self.session.record_of(run.id)) is not None)
        epochs = max((record.summary.epochs for record in known), default=1)
        whose = f"{named(runs)} {'has' if len(runs) == 1 else 'have'}"
        question = (
            f"{whose} completed {epochs} epochs. To how many shall training go on? The learning rate then follows the "
            "schedule of that length, so the result is not exactly that of a run of so many epochs."
        )
        answer = await self.app.push_screen_wait(Ask(question, str(2 * epochs), verb="go on"))
        if answer is not None and answer.strip():
            changes = [f"epochs={answer.strip()}"]
            self.act_on(runs, lambda run: start.resume(run, changes), lambda which: f"{which} goes on to {changes[0]}")

    @work
    async def edit_tags(self, run: RunDirectory) -> None:
        """Ask for the tags of a run, as `TagWords.change` understands them."""
        record = self.session.record_of(run.id)
        had = () if record is None else read_annotations(run).tags(record.summary)
        question = (
            f"Tags of {run.id}. Delete a word to remove that tag, or write +word to add one and -word to remove one."
        )
        words = await self.app.push_screen_wait(Ask(question, " ".join(had)))
        if words is not None:
            added, removed = tag_words(words.split()).change(had)
            tags = [*(tag for tag in had if tag not in removed), *added]
            self.act_on(
                [run], lambda run: change_tags(run, added, removed), lambda _: f"tags: {' '.join(tags) or 'none'}"
            )

    @work
    async def edit_note(self, run: RunDirectory) -> None:
        """Ask for the note on a run."""
        try:
            old = note_as_written(run)
        except UserError as error:
            self.notify(str(error), severity="error", timeout=8, markup=False)
            return
        note = await self.app.push_screen_wait(Ask(f"Note on {run.id}", old, lines=True))
        if note is not None:
            done = "note written" if note.strip() else "no note"
            self.act_on([run], lambda run: set_note(run, note), lambda _: done)

    @work(thread=True, group="runs")
    def act_on(
        self, runs: Sequence[RunDirectory], action: Callable[[RunDirectory], object], done: Callable[[str], str]
    ) -> None:
        """Run an action on each run in a thread; `done` words the message about the runs where it succeeded."""
        faults = []
        for run in runs:
            try:
                action(run)
            except UserError as error:
                faults.append(str(error))
        if well := len(runs) - len(faults):
            self.notify(done(runs[0].id if len(runs) == 1 else counted(well, "run")), markup=False)
        if faults:
            more = f"\nand {len(faults) - FAULTS_SHOWN} more" if len(faults) > FAULTS_SHOWN else ""
            self.notify("\n".join(faults[:FAULTS_SHOWN]) + more, severity="error", timeout=8, markup=False)
