"""The images in folders that a preset trains on, as a part of its experiment. Without torch."""

from pathlib import Path

from rbp_engine.data.catalog import require
from rbp_engine.preset import LoadedPreset
from rbp_engine.vocabulary import FOLDER_SET


def with_folder_data(loaded: LoadedPreset) -> LoadedPreset:
    """The preset with the names and sizes of its images in its experiment, if it trains on images in folders.

    The set's own name does not matter: it is this machine's. Raises DataMissing, and DataError for incomplete folders.
    """
    name = loaded.preset.data.name
    if not FOLDER_SET.fullmatch(name):
        return loaded
    # numpy takes a tenth of a second to import.
    from rbp_engine.data.readers.image_folders import content_digest, list_folder_set

    return loaded.with_contents("data.name", content_digest(list_folder_set(require(name).path or Path())))
