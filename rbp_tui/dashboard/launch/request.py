"""Parse the fields of the launch form into a request, and warn about it."""

import json
import os
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.preset import LoadedPreset, load_preset
from rbp_engine.preset.search import reference
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.resources import Resources
from rbp_engine.run.request import LaunchRequest, parse_seeds
from rbp_engine.run.store.store import RunRecord
from rbp_engine.settings.machine import runs_directory
from rbp_tui.text.run_text import short_id


@dataclass(frozen=True)
class TypedRequest:
    """A preset and the fields of the form as typed; empty fields keep the preset's values."""

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

    def request(self) -> LaunchRequest:
        """Parse the fields. Raises UserError if they are invalid or contradict each other."""
        try:
            words = shlex.split(self.overrides)
        except ValueError:
            raise UserError("settings: a quote is not closed") from None
        seeds = parse_seeds(self.seeds) if self.seeds.strip() else ()
        if seeds and any(word.startswith(("seed=", "run.seed=")) for word in words):
            raise UserError("seeds: the settings have a seed already; give it in one place")
        if self.device.strip():
            words.append(f"run.device={self.device.strip()}")
        if self.run_name.strip():
            words.append(f"run.name={self.run_name.strip()}")
        if tags := re.findall(r"[^,\s]+", self.tags):
            words.append(f"run.tags={json.dumps(tags, ensure_ascii=False)}")
        if len(seeds) == 1:
            words.append(f"seed={seeds[0]}")
        processes = self.processes.strip() or "1"
        if not re.fullmatch("[1-9][0-9]{0,3}", processes):
            raise UserError(f"processes: expected a number from 1 on, got '{processes}'")
        run_id = self.run_id.strip() or None
        if run_id and os.path.lexists(self.runs / run_id):
            raise RunError(f"the run {run_id} exists already; choose another id")
        request = LaunchRequest(
            reference(self.path, self.name),
            tuple(words),
            None if self.runs.absolute() == runs_directory() else self.runs,
            seeds if len(seeds) > 1 else (),
            Resources(processes=int(processes)),
            self.gpus.strip() or None,
            run_id=run_id,
        )
        return replace(request, typed=(*request.command, "--detach"))


def warnings(request: LaunchRequest, loaded: LoadedPreset, records: Sequence[RunRecord]) -> list[str]:
    """Warnings before the runs of a request are started, as sentences."""
    found = []
    method = loaded.preset.method
    usual = load_preset(request.preset).preset.method.timesteps
    scaled = method.name.startswith("rate") and method.loss_scale == "1/T" and method.timesteps > 1
    if scaled and method.timesteps != usual:
        found.append(f"T={method.timesteps}: the rate gradient is scaled by 1/{method.timesteps} (loss_scale)")
    for seed in request.seeds_of(loaded):
        same = [record for record in records if _is_run_of(record, loaded.experiment, seed)]
        found += [f"seed {seed} is {one.verdict.status} already: {short_id(one.summary)}" for one in same[-1:]]
    return found


def _is_run_of(record: RunRecord, experiment: str, seed: int) -> bool:
    done = record.verdict.live or record.verdict.status == "completed"
    return done and record.summary.experiment == experiment and record.summary.seed == seed
