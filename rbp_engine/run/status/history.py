"""The history of a run, built from its events as they arrive."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from rbp_engine.run.files.events import (
    CheckpointSaved,
    ErrorRaised,
    Event,
    Metrics,
    RunEnd,
    RunStart,
    System,
    Validation,
    WarningRaised,
    superseded,
)


@dataclass
class History:
    """Events by kind, in order, without what a later attempt has superseded; heartbeats are not kept."""

    starts: list[Event] = field(default_factory=list)
    metrics: list[Event] = field(default_factory=list)
    validations: list[Event] = field(default_factory=list)
    system: list[Event] = field(default_factory=list)
    checkpoints: list[Event] = field(default_factory=list)
    alerts: list[Event] = field(default_factory=list)
    end: RunEnd | None = None

    def add(self, events: Iterable[Event]) -> None:
        """Add the next events of a run."""
        kinds = {
            Metrics: self.metrics,
            Validation: self.validations,
            System: self.system,
            CheckpointSaved: self.checkpoints,
            WarningRaised: self.alerts,
            ErrorRaised: self.alerts,
        }
        for event in events:
            if isinstance(event.body, RunStart):
                for kept in kinds.values():
                    kept[:] = [old for old in kept if not superseded(old, event, event.body)]
                self.starts.append(event)
                self.end = None
            elif isinstance(event.body, RunEnd):
                self.end = event.body
            elif type(event.body) in kinds:
                kinds[type(event.body)].append(event)
