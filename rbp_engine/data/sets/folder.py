"""`folder:NAME`: the user's own folders of images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from rbp_engine.data.data_set import FOR_IMAGES, DataSet, DataShape, is_folder, shared_roots
from rbp_engine.data.files import TEST_SIDES
from rbp_engine.errors import DataError
from rbp_engine.settings.machine import read_machine

if TYPE_CHECKING:
    from rbp_engine.data.feed import DataSettings, Feed, Opening

#: Sets of this kind are in no list: their names are those in machine.toml.
DATA_SETS = ()


@dataclass(frozen=True, kw_only=True)
class FolderSet(DataSet):
    """Images in memory where all have one size and fit there, else read one by one."""

    @classmethod
    def named(cls, name: str) -> "FolderSet":
        """The set of this name, which matches FOLDER_SET."""
        folder = name.partition(":")[2]
        return cls(
            name=name,
            paper_name=name,
            title=f"{folder}, images in folders",
            classes=0,
            channels=3,
            image_size=(0, 0),
            train_size=0,
            test_size=0,
            origin="your own",
            layout="train/CLASS/ and test/CLASS/ (or val/CLASS/) with JPEG or PNG images",
            takes=(*FOR_IMAGES, "size"),
            folder=folder,
        )

    def taken(self, size: object) -> tuple[str, ...]:
        return ("size",) if size else self.takes

    def shape(self, data: "DataSettings") -> DataShape | None:
        return None

    def open(self, opening: "Opening") -> "Feed":
        # torchvision takes seconds to import.
        from rbp_engine.data.loading.memory import images_in_memory
        from rbp_engine.data.loading.one_by_one import images_in_files
        from rbp_engine.data.readers.folder_set import in_memory, notes
        from rbp_engine.data.readers.image_folders import list_folder_set

        data, folders = opening.data, list_folder_set(self.require().path or Path())
        splits = None if data.size else in_memory(folders)
        if splits is not None:
            feed = images_in_memory(splits, opening)
        else:
            for_memory = {key: getattr(data, key) for key in ("crop_padding", "cutout", "auto_augment")}
            if given := [f"data.{key}" for key, value in for_memory.items() if value]:
                raise DataError(
                    f"the images of {self.name} are of several sizes, or more than 4 GiB, so they are read one by one "
                    f"and cropped at random to data.size (224): leave out {', '.join(given)}"
                )
            feed = images_in_files(folders, data.size or 224, opening)
        return replace(feed, notes=notes(folders))

    def roots(self) -> list[Path]:
        """Its folder in `machine.toml`, and its own name in each folder of data sets."""
        named, roots = read_machine().data.get(self.name), [root / self.folder for root in shared_roots()]
        return [named, *roots] if named is not None else roots

    def folder_in(self, root: Path) -> Path:
        return root

    def missing(self, folder: Path) -> list[str]:
        tested = any(is_folder(folder / side) for side in TEST_SIDES)
        return ["train/"] * (not is_folder(folder / "train")) + ["test/ or val/"] * (not tested)

    def remedy(self, folders: Sequence[Path]) -> str:
        return f"`rbp data add {self.name} DIR` with the DIR that holds train/ and test/ (or val/)"

    def problems(self, folder: Path | None) -> list[str]:
        """Decodes every image."""
        from rbp_engine.data.readers.folder_set import check_folder_set

        return check_folder_set(folder or Path())
