"""What a launch asks for, why it would be refused, and starting it: one run for each seed."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rbp_engine.data.catalog import require
from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.preset.search import reference
from rbp_engine.run import start
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory, check_run_id
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.launch import launch
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import runs_directory
from rbp_tui.dashboard.session import start_and_reap
from rbp_tui.text.run_text import short_id


@dataclass(frozen=True)
class LaunchRequest:
    """A preset and what is asked for on top of it, in words as they are typed; what is empty is as in the preset."""

    path: Path
    name: str
    runs: Path
    overrides: str = ""
    seeds: str = ""
    device: str = ""
    processes: str = ""
    gpus: str = ""
    run_name: str = ""
    tags: str = ""
    run_id: str = ""

    @property
    def words(self) -> list[str]:
        """The settings as words of a command. Raises UserError for a quote that is not closed."""
        try:
            words = shlex.split(self.overrides)
        except ValueError:
            raise UserError("settings: a quote is not closed") from None
        if self.device.strip():
            words.append(f"run.device={self.device.strip()}")
        if self.run_name.strip():
            words.append(f"run.name={self.run_name.strip()}")
        if tags := _split(self.tags):
            words.append(f"run.tags={json.dumps(tags, ensure_ascii=False)}")
        if len(seeds := self.seed_list) == 1:
            words.append(f"seed={seeds[0]}")
        return words

    @property
    def seed_list(self) -> list[int]:
        """The seeds, none where the preset's own is meant. Raises UserError."""
        words = _split(self.seeds)
        if wrong := [word for word in words if not re.fullmatch("[0-9]{1,18}", word)]:
            raise UserError(f"seeds: expected numbers, as 1,2,3, got '{wrong[0]}'")
        seeds = [int(word) for word in words]
        if len(set(seeds)) < len(seeds):
            raise UserError("seeds: each one once, or two runs would be the same")
        if seeds and any(word.startswith(("seed=", "run.seed=")) for word in self.overrides.split()):
            raise UserError("seeds: the settings have a seed already; give it in one place")
        return seeds

    @property
    def resources(self) -> Resources:
        """What each run takes. Raises UserError."""
        words = self.processes.strip() or "1"
        if not re.fullmatch("[1-9][0-9]{0,3}", words):
            raise UserError(f"processes: expected a number from 1 on, got '{words}'")
        return Resources(processes=int(words))

    @property
    def queued(self) -> bool:
        """Whether the runs wait in the queue until they can have devices of their own."""
        return len(self.seed_list) > 1 or bool(self.gpus.strip())

    @property
    def command(self) -> list[str]:
        """What does the same in a shell. Raises UserError."""
        command = ["rbp", "train", reference(self.path, self.name), *self.words]
        if len(seeds := self.seed_list) > 1:
            command += ["--seeds", ",".join(map(str, seeds))]
        if self.gpus.strip():
            command += ["--gpus", self.gpus.strip()]
        if (processes := self.resources.processes) > 1:
            command += ["--nproc", str(processes)]
        if self.run_id.strip():
            command += ["--id", self.run_id.strip()]
        if self.runs.absolute() != runs_directory():
            command += ["--runs-dir", str(self.runs)]
        return [*command, "--detach"]

    def check(self) -> list[LoadedPreset]:
        """The preset of every run. Raises UserError with the reason where the launch would be refused."""
        seeds, words, resources = self.seed_list, self.words, self.resources
        if run_id := self.run_id.strip():
            check_run_id(run_id)
            if len(seeds) > 1:
                raise UserError("id: it names one run; leave it empty for several seeds")
            if os.path.lexists(self.runs / run_id):
                raise RunError(f"the run {run_id} exists already; choose another id")
        loaded = load_preset(str(self.path), words)
        if "data.name" not in loaded.own_code:
            require(loaded.preset.data.name)
        if self.queued:
            start.pool_for(resources, self.gpus.strip() or "auto", loaded.preset.run.device)
        if len(seeds) < 2:
            return [loaded]
        return [load_preset(str(self.path), [*words, f"seed={seed}"]) for seed in seeds]


def warnings(request: LaunchRequest, presets: Sequence[LoadedPreset], records: Sequence[RunRecord]) -> list[str]:
    """What is worth knowing before the runs of a request are started, in sentences."""
    found = []
    method = presets[0].preset.method
    usual = load_preset(str(request.path)).preset.method.timesteps
    scaled = method.name.startswith("rate") and method.loss_scale == "1/T" and method.timesteps > 1
    if scaled and method.timesteps != usual:
        found.append(f"T={method.timesteps}: the rate gradient is scaled by 1/{method.timesteps} (loss_scale)")
    for loaded in presets:
        seed = loaded.preset.run.seed
        same = [record for record in records if _is_run_of(record, loaded.experiment, seed)]
        found += [f"seed {seed} is {one.verdict.status} already: {short_id(one.summary)}" for one in same[-1:]]
    return found


def _is_run_of(record: RunRecord, experiment: str, seed: int) -> bool:
    done = record.verdict.live or record.verdict.status == "completed"
    return done and record.summary.experiment == experiment and record.summary.seed == seed


def launch_runs(request: LaunchRequest) -> list[RunDirectory]:
    """Create and start a run, or queue one for each of several seeds. Raises UserError; then nothing is left behind."""
    presets, command = request.check(), request.command
    run_id = request.run_id.strip() or None
    if request.queued:
        return start.submit(
            presets[0],
            request.runs,
            request.seed_list,
            request.resources,
            gpus=request.gpus.strip() or "auto",
            run_id=run_id,
            command=command,
        )
    run = launch.create(presets[0], request.runs, run_id=run_id, command=command, resources=request.resources)
    start_and_reap(run)
    return [run]


def _split(text: str) -> list[str]:
    return [word for word in re.split(r"[,\s]+", text) if word]
