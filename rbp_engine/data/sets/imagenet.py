"""ImageNet, or any other set of image files in its layout."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from rbp_engine.data.data_set import DataSet, is_folder
from rbp_engine.data.files import SIDES
from rbp_engine.settings.machine import made_cache_directory

if TYPE_CHECKING:
    from rbp_engine.data.feed import Feed, Opening


@dataclass(frozen=True, kw_only=True)
class ImageNet(DataSet):
    """Image files in class folders, read one by one."""

    in_memory: ClassVar[bool] = False

    def open(self, opening: "Opening") -> "Feed":
        # torchvision takes seconds to import.
        from rbp_engine.data.loading.one_by_one import images_in_files
        from rbp_engine.data.readers.image_folders import list_image_folders

        folders = list_image_folders(self.require().path or Path(), made_cache_directory())
        return images_in_files(folders, opening.data.size or self.default_size, opening)

    def holds_some(self, root: Path) -> bool:
        return any(is_folder(root / side) for side in SIDES)

    def missing(self, folder: Path) -> list[str]:
        return [f"{side}/" for side in SIDES if not is_folder(folder / side)]

    def problems(self, folder: Path | None) -> list[str]:
        """Reads the head of every file."""
        from rbp_engine.data.readers.image_folders import check_image_folders

        return check_image_folders(folder or Path(), self.classes)


DATA_SETS = (
    ImageNet(
        name="imagenet",
        paper_name="ImageNet",
        title="ImageNet (ILSVRC2012)",
        classes=1000,
        channels=3,
        image_size=(224, 224),
        default_size=224,
        train_size=1_281_167,
        test_size=50_000,
        any_size=True,
        origin="https://image-net.org/download.php, by hand after registration",
        layout="train/ and val/ with a folder of images for each class",
        takes=("size",),
        folder="imagenet",
    ),
)
