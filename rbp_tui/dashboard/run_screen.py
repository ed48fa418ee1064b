"""The verbs of runs: what a screen does with the runs that are chosen on it."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import ClassVar

from textual import work

from rbp_engine.errors import UserError
from rbp_engine.run import control, start
from rbp_engine.run.files.annotations import (
    change_tags,
    note_as_written,
    read_annotations,
    set_archived,
    set_note,
    tag_words,
)
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.processes import processes_by_run
from rbp_engine.run.store.store import RunRecord
from rbp_engine.run.store.trash import move_to_trash, restore
from rbp_tui.dashboard.dialogs import Ask, Confirm
from rbp_tui.dashboard.screen_base import DashboardScreen
from rbp_tui.dashboard.verbs import BY_NAME, Verb, has_settings, may_kill, may_resume
from rbp_tui.text.format import counted
from rbp_tui.text.run_text import named

FAULTS_SHOWN = 3
#: The group of the workers that act on runs.
ACTING = "acting"


class RunScreen(DashboardScreen):
    """A screen with the verbs of `verbs.py`. They act on the `targets`; those that need a single run, on `one`."""

    PALETTE: ClassVar[dict[str, str]] = {"Make a preset of the run": "preset"}

    @property
    def targets(self) -> list[RunRecord]:
        """The runs that a verb acts on."""
        raise NotImplementedError

    @property
    def one(self) -> list[RunRecord]:
        """The first of them; none without any."""
        return self.targets[:1]

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Offer a verb only if it can be done."""
        verb = BY_NAME.get(action)
        offered = super().check_action(action, parameters) and (action != "preset" or bool(self.targets))
        return self.may(verb) if offered and verb is not None and verb.may is not None else offered

    def may(self, verb: Verb) -> bool:
        """Whether to offer a verb of runs."""
        return verb.may is not None and any(map(verb.may, self.targets))

    def fitting(self, name: str, may: Callable[[RunRecord], bool] | None = None) -> list[RunDirectory]:
        """The targets of which a verb may be done, where `may` decides if it is given; the user sees which are not."""
        verb, targets = BY_NAME[name], self.targets
        may = may or verb.may
        found = [record.run for record in targets if may is None or may(record)]
        left = [record for record in targets if record.run not in found]
        statuses = ", ".join(sorted({record.verdict.shown_status for record in left}))
        if left and found:
            longer = "; alone they train for longer" if name == "resume" and "completed" in statuses else ""
            self.notify(f"{verb.does} leaves out {counted(len(left), 'run')}: {statuses}{longer}", markup=False)
        elif left:
            are = f"{targets[0].run.id} is" if len(targets) == 1 else f"all {len(targets)} runs are"
            statuses += "; Enter shows why" if name == "resume" and "failed" in statuses else ""
            self.notify(f"nothing to {verb.does}: {are} {statuses}", severity="warning", markup=False)
        return found

    @work
    async def action_stop(self) -> None:
        """Ask the runs to save and end, after a question."""
        if runs := self.fitting("stop"):
            they, them = ("It", "it") if len(runs) == 1 else ("They", "them")
            end = f"{they} will save a checkpoint and end; r resumes {them}."
            foreign = any(record.summary.program for record in self.targets)
            text = f"Stop {named(runs)}? {'Another program ends where it logs next.' if foreign else end}"
            if await self.app.push_screen_wait(Confirm(text, "stop")):
                self.act_on(runs, control.request_stop, lambda which: f"asked {which} to stop")

    @work
    async def action_kill(self) -> None:
        """End the runs at once, and what processes ended ones have left, after a question."""
        left = await asyncio.to_thread(processes_by_run)
        if runs := self.fitting("kill", lambda one: may_kill(one, RunDirectory(one.run.path.resolve()) in left)):
            whose = "its" if len(runs) == 1 else "the"
            text = f"Kill {named(runs)}? What came after {whose} last checkpoint is lost."
            if await self.app.push_screen_wait(Confirm(text, "kill")):
                self.act_on(runs, control.kill, lambda which: f"killed {which}")

    def action_resume(self) -> None:
        """Go on with the runs from their newest checkpoints; with completed ones for more epochs."""
        resumable = [record for record in self.targets if may_resume(record) and record.verdict.resumable]
        runs = self.fitting("resume", resumable.__contains__ if resumable else None)
        if resumable:
            self.act_on(runs, start.resume, lambda which: f"resuming {which}")
        elif runs:
            self._train_longer(runs)

    @work
    async def _train_longer(self, runs: Sequence[RunDirectory]) -> None:
        """Ask to how many epochs completed runs are to train on, and go on with them."""
        known = (record for run in runs if (record := self.session.record_of(run.id)) is not None)
        epochs = max((record.summary.epochs for record in known), default=1)
        whose = f"{named(runs)} {'has' if len(runs) == 1 else 'have'}"
        question = (
            f"{whose} completed {counted(epochs, 'epoch')}. How many shall it be in all? The learning rate then "
            "follows the schedule of that length, so the result is not exactly that of a run of so many epochs."
        )
        answer: str | None = str(2 * epochs)
        while (answer := await self.app.push_screen_wait(Ask(question, answer or "", verb="go on"))) is not None:
            if answer.strip().isdecimal() and int(answer) > epochs:
                break
            self.notify(f"needed: a whole number above {epochs}", severity="warning", markup=False)
        if answer is not None:
            changes = [f"epochs={int(answer)}"]
            self.act_on(
                runs,
                lambda run: start.resume(run, changes),
                lambda which: f"training goes on from {which} to {changes[0]}, as a run beside it",
            )

    def action_again(self) -> None:
        """Launch another run with its settings, changed."""
        for record in filter(has_settings, self.one):
            self.session.screens.run_again(record.run.id)

    def action_preset(self) -> None:
        """Write its settings as a preset, and edit that."""
        for record in filter(has_settings, self.one):
            self.session.screens.preset_from_run(record.run.id)

    def action_sweep(self) -> None:
        """Show the table of the sweep that the run belongs to."""
        for record in self.one:
            self.session.screens.sweep_of_run(record.run.id)

    def action_compare(self) -> None:
        """Compare the runs."""
        if ids := [run.id for run in self.fitting("compare")]:
            self.session.screens.compare(ids)

    def action_pin(self) -> None:
        """Hold other runs against this one; again, no longer."""
        for record in self.one:
            self.notify(self.session.pin(record.run.id), markup=False)
            self.runs_changed()

    @work
    async def action_tag(self) -> None:
        """Add tags to the runs, and take some away."""
        if not (runs := self.fitting("tag")):
            return
        had: tuple[str, ...] = ()
        if len(runs) == 1 and (record := self.session.record_of(runs[0].id)) is not None:
            had = read_annotations(record.run).tags(record.summary)
        there = f": {' '.join(had)}" if had else ""
        question = f"Tags of {named(runs)}{there}. A word adds one, -word removes it."
        words = await self.app.push_screen_wait(Ask(question, ""))
        if words is not None:
            plain, signed, removed = tag_words(words.split())
            added = [tag for tag in (*plain, *signed) if tag not in had]
            tags = [*(tag for tag in had if tag not in removed), *added]
            said = f"tags: {' '.join(tags) or 'none'}" if len(runs) == 1 else f"tagged {named(runs)}"
            self.act_on(runs, lambda run: change_tags(run, added, removed), lambda _: said)

    @work
    async def action_note(self) -> None:
        """Write a note on the run."""
        if not (one := self.one):
            return
        old = note_as_written(one[0].run)
        note = await self.app.push_screen_wait(Ask(f"Note on {one[0].run.id}", old, lines=True))
        if note is not None:
            done = "note written" if note.strip() else "no note"
            self.act_on([one[0].run], lambda run: set_note(run, note), lambda _: done)

    def action_archive(self) -> None:
        """Keep the runs out of the way; if all of them are in the archive, bring them back."""
        runs = self.fitting("archive")
        there = [record.run for record in self.targets if not record.annotations.archived]
        back = partial(set_archived, archived=False)
        if there:
            together: list[RunDirectory] = []
            self.session.moved.append((together, back))

            def archive(run: RunDirectory) -> None:
                set_archived(run, archived=True)
                together.append(run)

            self.act_on(
                there, archive, lambda which: f"archived {which}, u undoes it; the filter archived shows such runs"
            )
        elif runs:
            self.act_on(runs, back, lambda which: f"{which} back from the archive")

    def action_trash(self) -> None:
        """Move the runs to the trash."""
        if ended := self.fitting("trash"):
            together: list[RunDirectory] = []
            self.session.moved.append((together, lambda run: restore(self.session.runs, run.id)))
            self.act_on(
                ended,
                lambda run: together.append(move_to_trash(run).run),
                lambda which: f"moved {which} to the trash, u undoes it",
            )

    def action_undo(self) -> None:
        """Bring back what was moved to the trash or the archive last, then what was before, by this dashboard."""
        if any(worker.group == ACTING and not worker.is_finished for worker in self.workers):
            self.notify("what was done last is still under way: press it again in a moment", severity="warning")
            return
        while self.session.moved:
            together, back = self.session.moved.pop()
            if together:
                self.act_on(together, back, lambda which: f"brought back {which}")
                return
        self.notify("nothing to undo: rbp runs restore brings back what was moved to the trash earlier")

    @work(thread=True, group=ACTING)
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
