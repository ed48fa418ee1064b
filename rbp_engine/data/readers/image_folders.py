"""List image files in folders like ImageNet's, `<root>/{train,val}/<class>/<image>`, or {train,test}. Without torch.

Reading 1.3 million names takes minutes on a network disk, so the list is kept in the user's cache and is valid as long
as no folder has changed.
"""

import contextlib
import hashlib
import os
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from rbp_engine.data.files import SIDES, TEST_SIDES
from rbp_engine.data.readers.image_headers import LARGEST_IMAGE, check_header
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import open_untrusted

_SUFFIXES: Final = (b".jpeg", b".jpg", b".png")
_PREPARE: Final = "https://github.com/pytorch/examples/tree/main/imagenet (extract_ILSVRC.sh) does it"


@dataclass(frozen=True)
class ImageList:
    """The images of train or val, by class and name: `names` bytes [N], and `labels` int64 [N], indices of `classes`.

    Arrays, not lists of strings, so that worker processes share the memory of the process they are forked from.
    """

    folder: Path
    classes: tuple[str, ...]
    names: NDArray[np.bytes_]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def path(self, index: int) -> str:
        """The file of an image."""
        return f"{self.folder}/{self.classes[self.labels[index]]}/{os.fsdecode(bytes(self.names[index]))}"


@dataclass(frozen=True)
class ImageFolders:
    """The contents of a root: classes sorted by name (labels are indices into them), and images of both sides.

    `val` are those to test on, whatever their folder is called.
    """

    classes: tuple[str, ...]
    train: ImageList
    val: ImageList


def list_image_folders(root: Path, cache: Path | None = None, test: str = "val") -> ImageFolders:
    """The images in `root/train` and `root/<test>`; `cache` is the folder that keeps the list for the next start.

    Raises DataError, naming the folder and the remedy, if a side is missing or has no class folders, or if a class is
    missing or empty in one of them.
    """
    kept, sides = _kept_list(root, cache), (SIDES[0], test)
    listing = _load_listing(root, sides, kept) if kept is not None else None
    if listing is None:
        folders = _class_folders(root, sides)
        listing = {"classes": np.array(folders, dtype=np.str_)}
        if kept is not None:
            # Read before the names: a change in between makes the list stale, not wrong.
            listing["changed"] = _times(root, sides, folders)
        for side in sides:
            listing |= _read_side(root / side, folders)
        if kept is not None:
            _save_listing(kept, listing)
    classes = tuple(listing["classes"].tolist())
    train, val = (
        ImageList(root / side, classes, listing[f"{side}_names"], listing[f"{side}_labels"]) for side in sides
    )
    return ImageFolders(classes, train, val)


def list_folder_set(root: Path) -> ImageFolders:
    """The images in `root`. Raises DataError for folders that are missing, empty or not the same on both sides."""
    test = next((side for side in TEST_SIDES if (root / side).is_dir()), TEST_SIDES[0])
    return list_image_folders(root, test=test)


def check_image_folders(root: Path, expected_classes: int = 1000) -> list[str]:
    """Problems of the folders in `root`, none if they are complete; reads the head of every file."""
    try:
        folders = list_image_folders(root)
    except ValueError as error:
        return [str(error)]
    problems = []
    if len(folders.classes) != expected_classes:
        problems.append(
            f"{root} has {len(folders.classes)} classes, expected {expected_classes}: unpack the missing archives"
        )
    for images in (folders.train, folders.val):
        problems += [problem for index in range(len(images)) if (problem := _file_problem(images.path(index)))]
    return problems


def _file_problem(path: str) -> str:
    try:
        with open_untrusted(path, limit=LARGEST_IMAGE) as file:
            check_header(file)
    except OSError as error:
        return f"{path}: cannot be read: {error.strerror}"
    except ValueError as error:
        return f"{path}: is no image that can be used ({error}): copy or unpack it again, or remove it"
    return ""


def _class_folders(root: Path, sides: tuple[str, str]) -> list[str]:
    train, val = (_subfolders(root / side) for side in sides)
    for here, there, there_side in ((train, val, sides[1]), (val, train, sides[0])):
        if missing := sorted(set(here) - set(there)):
            raise DataError(
                f"{root / there_side} has no folder for {_some(missing)}, which the other side has: "
                "both sides need the same classes; unpack what is missing, or remove the rest"
            )
    return train


def _subfolders(side: Path) -> list[str]:
    try:
        with os.scandir(side) as entries:
            visible = [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{side} cannot be read ({error.strerror}): the images belong in {side}/<class>/") from None
    folders = sorted(entry.name for entry in visible if os.path.isdir(entry))  # noqa: PTH112  # a link to itself is none
    if folders:
        return folders
    images = sum(os.fsencode(entry.name).lower().endswith(_SUFFIXES) for entry in visible)
    what = f"{images} images and no class folders" if images else "no class folders"
    raise DataError(f"{side} holds {what}: move each image into the folder of its class; {_PREPARE}")


def _read_side(side: Path, folders: Sequence[str]) -> dict[str, NDArray[Any]]:
    names: list[bytes] = []
    counts = []
    for folder in folders:
        images = sorted(_image_names(side / folder))
        names += images
        counts.append(len(images))
    if empty := [folder for folder, count in zip(folders, counts, strict=True) if count == 0]:
        raise DataError(
            f"{side} has no images for {_some(empty)} (.JPEG, .jpg or .png): unpack the archive of the class again, or "
            "remove the class from both sides"
        )
    return {
        f"{side.name}_names": np.array(names, dtype=np.bytes_),
        f"{side.name}_labels": np.repeat(np.arange(len(folders), dtype=np.int64), counts),
    }


def _image_names(folder: Path) -> Iterator[bytes]:
    try:
        names = os.listdir(os.fsencode(folder))  # noqa: PTH208  # bytes, for the array
    except OSError as error:
        raise DataError(f"{folder} cannot be read: {error.strerror}") from None
    return (name for name in names if name.lower().endswith(_SUFFIXES) and not name.startswith(b"."))


def content_digest(folders: ImageFolders) -> str:
    """The SHA-256 of the names and sizes in bytes of all images, wherever the root is. Raises DataError."""
    digest = hashlib.sha256()
    for images in (folders.train, folders.val):
        for index in range(len(images)):
            path = images.path(index)
            try:
                size = os.stat(path).st_size  # noqa: PTH116  # pathlib takes three times as long
            except OSError as error:
                raise DataError(f"{path} cannot be read: {error.strerror}") from None
            digest.update(os.fsencode(path.removeprefix(f"{images.folder}/")) + b"\0%d\n" % size)
        digest.update(b"\n")
    return digest.hexdigest()


def other_files(folders: ImageFolders) -> list[str]:
    """The visible files among the images that are none by their names, and so are skipped."""
    found: list[str] = []
    for side in (folders.train.folder, folders.val.folder):
        for folder in (side, *(side / name for name in folders.classes)):
            with os.scandir(folder) as entries:
                found += sorted(
                    entry.path
                    for entry in entries
                    if not entry.name.startswith(".")
                    and (folder != side or entry.name not in folders.classes)
                    and (folder == side or not os.fsencode(entry.name).lower().endswith(_SUFFIXES))
                )
    return found


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more


def _times(root: Path, sides: Sequence[str], classes: Sequence[str]) -> NDArray[np.int64]:
    folders = [root / side for side in sides]
    folders += [side / name for side in folders for name in classes]
    return np.array([os.stat(folder).st_mtime_ns for folder in folders], dtype=np.int64)  # noqa: PTH116


def _kept_list(root: Path, cache: Path | None) -> Path | None:
    if cache is None:
        return None
    return cache / "listings" / f"{hashlib.sha256(os.fsencode(root.resolve())).hexdigest()[:16]}.npz"


def _load_listing(root: Path, sides: Sequence[str], kept: Path) -> dict[str, NDArray[Any]] | None:
    try:
        with open_untrusted(kept) as opened, np.load(opened, allow_pickle=False) as file:
            arrays = (f"{side}_{what}" for side in sides for what in ("names", "labels"))
            listing = {name: file[name] for name in ("classes", "changed", *arrays)}
        return listing if np.array_equal(_times(root, sides, listing["classes"].tolist()), listing["changed"]) else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None


def _save_listing(kept: Path, listing: dict[str, Any]) -> None:
    temporary = kept.with_name(f".{kept.name}.{os.getpid()}")
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, **listing)
        temporary.replace(kept)
    except OSError:
        # Without a cache the next start only takes longer.
        with contextlib.suppress(OSError):
            temporary.unlink()
