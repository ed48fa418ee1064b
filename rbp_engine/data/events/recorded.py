"""Sets of recordings of event cameras, which are decoded once into a cache of frames. Without torch and numpy."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from rbp_engine.data.data_set import DataSet, Kind
from rbp_engine.data.events.errors import EventDataError
from rbp_engine.data.events.plan import FrameSettings, Plan, Recording, index_hash
from rbp_engine.data.files import problems_of
from rbp_engine.errors import DataError
from rbp_engine.settings.machine import cache_directory, made_cache_directory

if TYPE_CHECKING:
    from rbp_engine.data.events.cache import Cache
    from rbp_engine.data.events.conversion import Progress
    from rbp_engine.data.feed import Feed
    from rbp_engine.data.opening import DataSettings, Opening


@dataclass(frozen=True, kw_only=True)
class RecordedSet(DataSet):
    """Recordings of an event camera; `image_size` is the sensor's."""

    kind: ClassVar[Kind] = "recordings"
    in_memory: ClassVar[bool] = False
    takes: tuple[str, ...] = ("roll", "size", "frames_by")

    def plan(self, root: Path, wanted: FrameSettings) -> Plan:
        """What to decode of the set in `root`. Raises EventDataError, which says what is wrong, and the remedy."""
        raise NotImplementedError

    def holds_some(self, root: Path) -> bool:
        return not self.missing(root)

    def problems_of_files(self, folder: Path) -> list[str]:
        """Missing recordings, and those that cannot be read; decodes all of them. Raises OSError."""
        try:
            plan = self.plan(folder, FrameSettings(timesteps=1, size=self.image_size[0]))
        except DataError as error:
            return [str(error)]
        return [*plan.gaps, *problems_of(partial(plan.read, one) for one in (*plan.train, *plan.test))]

    def problems(self, folder: Path | None) -> list[str]:
        """Reads all of the caches, too."""
        from rbp_engine.data.events.cache import verify

        caches = sorted((cache_directory() / "events").glob(f"{self.name}-*"))
        of_caches = [problem for cache in caches if cache.is_dir() for problem in verify(cache)]
        return self.problems_of_files(folder or Path()) + of_caches

    def wanted(self, data: "DataSettings", timesteps: int) -> FrameSettings:
        """The frames that a preset's settings ask for."""
        size = data.size or self.default_size
        return FrameSettings(timesteps, data.frames_by, data.split, data.resize, size, data.orientation)

    def planned(
        self,
        source: Path,
        layout: str,
        parts: Sequence[Sequence[Recording]],
        files: Sequence[Path],
        read: Callable[[Recording], Any],
        gaps: Sequence[str] = (),
        **settings: str,
    ) -> Plan:
        """The plan of these parts. The set is split as published, unless the `settings` say how."""
        known = {"source": str(source), "layout": layout, "split": "as published"} | settings
        known["index_sha256"] = index_hash(parts, self.class_names)
        train, test = parts
        return Plan(train, test, files, known, gaps, read)

    def counting(
        self, events: Callable[[Recording], Sequence[Any]], wanted: FrameSettings
    ) -> Callable[[Recording], Any]:
        """Counts the events of a recording, of which `events` gives times (µs), columns, rows and polarities."""

        def read(recording: Recording) -> Any:
            from rbp_engine.data.events.slicing import counted

            return counted(
                recording.path,
                events(recording),
                timesteps=wanted.timesteps,
                frames_by=wanted.frames_by,
                side=self.image_size[0],
                what=self.paper_name,
            )

        return read

    def convert(
        self,
        root: Path,
        cache: Path,
        wanted: FrameSettings,
        *,
        wait: bool = False,
        progress: "Progress | None" = None,
    ) -> "Cache":
        """The frames of the recordings in `root`, from the folder `cache`, or decoded into it: see `cached`."""
        from rbp_engine.data.events.conversion import cached

        side = self.image_size[0]
        if wanted.timesteps < 1 or not 1 <= wanted.size <= side:
            raise EventDataError(
                f"T = {wanted.timesteps} and size = {wanted.size}: expected T ≥ 1 and a size of 1 to {side} pixels"
            )
        plan = self.plan(root.resolve(), wanted)
        return cached(self.name, self.classes, plan, wanted, cache, wait=wait, progress=progress)

    def open(self, opening: "Opening") -> "Feed":
        """Converts the recordings if there is no cache yet, which takes minutes; of several processes one does."""
        from rbp_engine.data.events.feed import event_feed

        wanted, cache = self.wanted(opening.data, opening.timesteps), made_cache_directory() / "events"
        done = self.convert(self.require().path or Path(), cache, wanted, wait=True)
        return event_feed(done.train, done.test, self.classes, opening, self.class_names)
