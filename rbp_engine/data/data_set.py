"""What a data set is, and how it is found, checked, fetched and opened. Without torch and numpy."""

import importlib.util
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from rbp_engine.errors import UserError
from rbp_engine.settings.machine import cache_directory, read_machine
from rbp_engine.untrusted_files import described

if TYPE_CHECKING:
    from rbp_engine.data.events.plan import FrameSettings
    from rbp_engine.data.feed import DataSettings, Feed, Opening
    from rbp_engine.data.splits import DataSplits

#: Settings of `[data]` that have an effect on images in memory alone, but for cutout.
FOR_IMAGES: Final = ("crop_padding", "cutout", "augment_backend", "auto_augment")
#: Those of images of one channel: the policies of AutoAugment are for colours.
FOR_GREY_IMAGES: Final = FOR_IMAGES[:-1]

Kind = Literal["images", "recordings", "synthetic", "random"]


@dataclass(frozen=True)
class Presence:
    """Whether a data set is on this machine.

    `path` is the folder with its files, None for one in a package; `looked` lists every place searched for `layout`;
    `remedy` is how to get it, "" if it was found.
    """

    name: str
    found: bool
    path: Path | None
    looked: list[str]
    remedy: str
    layout: str = ""


class DataMissing(UserError):
    """A data set is not on this machine; the message says what was searched for, where, and how to get it."""

    exit_code = 3

    def __init__(self, presence: Presence) -> None:
        self.presence = presence
        super().__init__(presence)

    def __str__(self) -> str:
        looked = "".join(f"\n  looked in: {place}" for place in self.presence.looked)
        return (
            f"the data set '{self.presence.name}' is not here\n  looked for: {self.presence.layout}{looked}"
            f"\n  to get it: {self.presence.remedy}"
        )


@dataclass(frozen=True)
class DataShape:
    """`image` is (C, H, W) of one timestep; with `frames`, every timestep has its own. Sizes count samples."""

    image: tuple[int, int, int]
    frames: bool
    classes: int
    train_size: int
    test_size: int


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """One data set; sizes and classes are 0 where they are not known before the files are read.

    `paper_name` is its name as papers write it. `image_size` is (height, width) in pixels, `train_size` and `test_size`
    count samples; with `any_size`, another set of this name may have other ones. `origin` is its source and `layout`
    describes its files. `class_names` are by label. `takes` are the settings of `[data]` that have an effect on it and
    not on every set. `timesteps` is the only T that it has, 0 for any, `default_size` the side of its samples where
    `data.size` is 0, itself 0 if all have one size.

    A set of files has a `folder` (inside its root) with `files`, pairs of name and md5 (of a packed file that of its
    content: archives are packed anew by others); `download` is the name of torchvision's class that downloads it, "" if
    none does. Debian's package `debian`, if there is one, puts the files into `debian_folder` of a folder in
    `$XDG_DATA_DIRS`. A set that comes in a Python package has `package` (to install) and `module` (to import).
    """

    kind: ClassVar[Kind] = "images"
    #: Whether the whole set is kept in memory.
    in_memory: ClassVar[bool] = True

    name: str
    paper_name: str
    title: str
    classes: int
    channels: int
    image_size: tuple[int, int]
    train_size: int
    test_size: int
    origin: str
    layout: str
    any_size: bool = False
    class_names: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    timesteps: int = 0
    default_size: int = 0
    folder: str = ""
    files: tuple[tuple[str, str], ...] = ()
    download: str = ""
    debian: str = ""
    debian_folder: str = ""
    package: str = ""
    module: str = ""

    def open(self, opening: "Opening") -> "Feed":
        """The batches of a run. Raises DataMissing, or ValueError for a damaged file or settings that do not fit."""
        raise NotImplementedError

    def load(self) -> "DataSplits":
        """All images. Raises DataMissing, DataError for a damaged file, ValueError for a set that is not kept so."""
        raise ValueError(f"{self.name} is not kept in memory as images")

    def taken(self, size: object) -> tuple[str, ...]:
        """The settings of `takes` with this `data.size`."""
        return self.takes

    def wrong_arguments(self, args: Mapping[str, Any]) -> list[tuple[str, str]]:
        """What is wrong with `data.args`, each as its key and a message; only for a set that takes arguments."""
        return []

    def shape(self, data: "DataSettings") -> DataShape | None:
        """The shape of the samples that these settings give, without opening any; None if it is not known."""
        height, width = (data.size or self.default_size,) * 2 if self.default_size else self.image_size
        image = (self.channels, height, width)
        return DataShape(image, self.kind != "images", self.classes, self.train_size, self.test_size)

    def wanted(self, data: "DataSettings", timesteps: int) -> "FrameSettings | None":
        """The frames that these settings ask for, of recordings that are decoded first; None for any other set."""
        return None

    @property
    def has_one_t(self) -> bool:
        """Whether a run cannot quickly have the samples at another T."""
        return self.timesteps > 0 or self.kind == "recordings"

    def find(self, roots: Sequence[Path] | None = None) -> Presence:
        """Whether the set is on this machine: checks that its files exist, without opening any.

        `roots` are the folders to search, by default `self.roots()` and then where Debian's package puts it; a root may
        also be the data set's own folder.
        """
        if self.module:
            found = importlib.util.find_spec(self.module) is not None
            remedy = "" if found else f"{shlex.quote(sys.executable)} -m pip install {self.package}"
            return Presence(self.name, found, None, [f"the packages of {sys.executable}"], remedy, self.layout)
        folders = [self.folder_in(root) for root in (self.roots() if roots is None else roots)]
        if roots is None and self.debian:
            shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
            folders += [Path(root) / self.debian_folder for root in shared.split(":") if root.startswith("/")]
        looked = [str(folder) for folder in folders]
        for folder in folders:
            if not self.missing(folder):
                return Presence(self.name, True, folder, looked, "", self.layout)
        return Presence(self.name, False, None, looked, self.remedy(folders), self.layout)

    def require(self, roots: Sequence[Path] | None = None) -> Presence:
        """The set's presence. Raises `DataMissing` if it is not on this machine."""
        found = self.find(roots)
        if not found.found:
            raise DataMissing(found)
        return found

    def check(self, roots: Sequence[Path] | None = None) -> list[str]:
        """The problems of the set's contents, none if it is complete; reads all of it, unless `problems` says less."""
        found = self.find(roots)
        if not found.found:
            return [str(DataMissing(found))]
        try:
            return self.problems(found.path)
        except OSError as error:
            return [described(error)]

    def roots(self) -> list[Path]:
        """The folders in which the set is searched for, in order.

        These are its root in `machine.toml`, `$RBP_DATA`, `data` in the cache, and `./data`. Raises `MachineError`.
        """
        named = read_machine().data.get(self.name)
        return [named, *shared_roots()] if named is not None else shared_roots()

    def folder_in(self, root: Path) -> Path:
        """The folder of the set below a root; or the root itself, if it is that folder, or one on the way to it."""
        inside, own = root / self.folder, Path(self.folder).parts
        if is_folder(inside):
            return inside
        for count in range(len(own), 0, -1):
            if root.parts[-count:] == own[:count]:
                return root.joinpath(*own[count:])
        return root if self.holds_some(root) else inside

    def holds_some(self, root: Path) -> bool:
        """Whether something of a set whose files have no list lies in the folder itself."""
        return False

    def missing(self, folder: Path) -> list[str]:
        """What of the set is missing in a folder; only checks names, never scans the folder."""
        return [name for name, _ in self.files if not (is_file(folder / name) or is_file(unpacked(folder / name)))]

    def remedy(self, folders: Sequence[Path]) -> str:
        """How to get the set, which is in none of these folders."""
        for folder in folders:
            if is_folder(folder):
                return self.incomplete(folder)
        have = f"if you have it, `rbp data add {self.name} DIR` with the DIR that holds {self.folder}"
        if self.debian:
            have = f"on Debian and Ubuntu `apt install {self.debian}` brings it; {have}"
        if self.download:
            return f"`rbp data fetch {self.name}` downloads it from {self.origin}; {have}"
        return f"{self.origin}; {have}"

    def incomplete(self, folder: Path) -> str:
        """What is missing in a folder that is there, and what to do."""
        missing = ", ".join(self.missing(folder))
        return f"{folder} is incomplete, without {missing}: unpack the archive of {self.origin} again"

    def problems(self, folder: Path | None) -> list[str]:
        """What is wrong with the set's contents in its folder, None for one in a package. Raises OSError."""
        return []


def shared_roots() -> list[Path]:
    """The folders in which every data set is searched for."""
    chosen = os.environ.get("RBP_DATA")
    roots = [Path(chosen).absolute()] if chosen else []
    return [*roots, cache_directory() / "data", Path("data").absolute()]


def is_folder(path: Path) -> bool:
    """Whether it is a folder; without permission to see it, it is none."""
    return os.path.isdir(path)  # noqa: PTH112  # pathlib raises without permission


def is_file(path: Path) -> bool:
    """Whether it is a file, as above."""
    return os.path.isfile(path)  # noqa: PTH113  # as above


def unpacked(path: Path) -> Path:
    """The file without its `.gz`, if that is there."""
    plain = path.with_suffix("") if path.suffix == ".gz" else path
    return plain if os.path.exists(plain) else path  # noqa: PTH110  # pathlib raises without permission
