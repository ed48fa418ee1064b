"""Sets of recordings of event cameras, which are decoded once into a cache of frames. Without torch and numpy."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rbp_engine.child import Progress, no_progress
from rbp_engine.data.data_set import DataSet, Kind
from rbp_engine.data.events.plan import FrameSettings, Plan, Recording, index_hash
from rbp_engine.data.files import problems_of
from rbp_engine.errors import DataError
from rbp_engine.settings.machine import cache_directory, made_cache_directory

if TYPE_CHECKING:
    from rbp_engine.data.events.cache import Cache
    from rbp_engine.data.feed import DataSettings, Feed, Opening


@dataclass(frozen=True, kw_only=True)
class RecordedSet(DataSet):
    """Recordings of an event camera; `image_size` is the sensor's.

    `by_hand` is where to get it, and what to do then. `layouts` are those in which people have it: the name of each,
    and what it has for each part, as paths in the root.
    """

    kind: ClassVar[Kind] = "recordings"
    in_memory: ClassVar[bool] = False
    takes: tuple[str, ...] = ("roll", "cutout", "size", "frames_by")
    by_hand: str
    layouts: tuple[tuple[str, str, str], ...] = ()

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        """What to decode of the set in `root`. Raises DataError, which says what is wrong, and the remedy."""
        raise NotImplementedError

    def place(self, root: Path) -> tuple[str, Sequence[Path]]:
        """The layout of the set in `root`, and what it has for each part.

        Raises DataError, which says what was found instead, and the remedy.
        """
        for layout, *names in self.layouts:
            places = [root / name for name in names]
            if all(map(os.path.exists, places)):  # pathlib raises without permission
                return layout, places
        raise DataError(f"{root} holds no {self.paper_name}: looked for {self.layout}; get it from {self.by_hand}")

    def holds_some(self, root: Path) -> bool:
        return not self.missing(root)

    def missing(self, folder: Path) -> list[str]:
        try:
            self.place(folder)
        except DataError as error:
            return [str(error)]
        return []

    def incomplete(self, folder: Path) -> str:
        return self.missing(folder)[0]

    def problems(self, folder: Path | None) -> list[str]:
        """Missing recordings, those that cannot be read, and damaged caches; reads and decodes all of them."""
        from rbp_engine.data.events.cache import verify

        caches = sorted((cache_directory() / "events").glob(f"{self.name}-*"))
        # A conversion may be running; what is left of one that was killed is deleted by the next (`conversion.py`).
        done = [cache for cache in caches if cache.is_dir() and cache.suffix != ".building"]
        of_caches = [problem for cache in done for problem in verify(cache)]
        try:
            plan = self.plan(folder or Path(), FrameSettings(timesteps=1, size=self.image_size[0]))
        except DataError as error:
            return [str(error), *of_caches]
        reads = (partial(plan.read, one) for one in (*plan.train, *plan.test))
        return [*plan.gaps, *problems_of(reads), *of_caches]

    def wanted(self, data: "DataSettings", timesteps: int) -> FrameSettings:
        """The frames that a preset's settings ask for."""
        size = data.size or self.default_size
        return FrameSettings(timesteps, data.frames_by, data.split, data.resize, size, data.orientation)

    def planned(
        self,
        wanted: FrameSettings,
        source: Path,
        layout: str,
        parts: Sequence[Sequence[Recording]],
        events: Callable[[Recording], Sequence[Any]],
        *,
        files: Sequence[Path] | None = None,
        gaps: Sequence[str] = (),
        in_order: bool = True,
        **settings: str,
    ) -> Plan:
        """The plan of these parts. The set is split as published, unless the `settings` say how.

        `events` gives times (µs), columns, rows and polarities of a recording. `files` are by default those of the
        recordings. With `in_order`, times that run backwards are refused.
        """

        def read(recording: Recording) -> Any:
            from rbp_engine.data.events.slicing import integrate

            times, columns, rows, polarities = events(recording)
            side, slices = self.image_size[0], (wanted.timesteps, wanted.frames_by)
            try:
                return integrate(times, columns, rows, polarities, *slices, side, in_order=in_order)
            except ValueError as error:
                raise DataError(
                    f"{recording.path} is no recording of {self.paper_name} ({error}): copy it again"
                ) from error

        known = {"source": str(source), "layout": layout, "split": "as published"} | settings
        known["index_sha256"] = index_hash(parts, self.class_names)
        train, test = parts
        files = [one.path for part in parts for one in part] if files is None else files
        return Plan(train, test, files, known, gaps, read)

    def convert(
        self,
        root: Path,
        cache: Path,
        wanted: FrameSettings,
        *,
        wait: bool = False,
        on_progress: Progress = no_progress,
    ) -> "Cache":
        """The frames of the recordings in `root`, from the folder `cache`, or decoded into it: see `cached`."""
        from rbp_engine.data.events.conversion import cached

        side = self.image_size[0]
        if wanted.timesteps < 1 or not 1 <= wanted.size <= side:
            raise DataError(
                f"T = {wanted.timesteps} and size = {wanted.size}: expected T ≥ 1 and a size of 1 to {side} pixels"
            )
        plan = self.plan(root.resolve(), wanted)
        return cached(self.name, self.classes, plan, wanted, cache, wait=wait, on_progress=on_progress)

    def open(self, opening: "Opening") -> "Feed":
        """Converts the recordings if there is no cache yet, which takes minutes; of several processes one does."""
        from rbp_engine.data.events.feed import event_feed

        wanted, cache = self.wanted(opening.data, opening.timesteps), made_cache_directory() / "events"
        done = self.convert(self.require().path or Path(), cache, wanted, wait=True)
        return event_feed(done.train, done.test, self.classes, opening, self.class_names)


def events_of_spikingjelly(recording: Recording) -> Sequence[Any]:
    """Times, columns, rows and polarities in a file of its `events_np`. Raises DataError and OSError."""
    from rbp_engine.data.events.archives import read_events

    return read_events(recording.path)
