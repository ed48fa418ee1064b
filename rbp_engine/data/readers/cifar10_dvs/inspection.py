"""Look at the recordings of CIFAR10-DVS without decoding them, for `rbp data check`."""

from pathlib import Path

from rbp_engine.data.events.aedat import check_aedat
from rbp_engine.data.events.archives import check_archive
from rbp_engine.data.readers.cifar10_dvs.layouts import FoundLayout, all_layouts
from rbp_engine.data.readers.cifar10_dvs.recordings import list_recordings, split_recordings
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import described


def check_recordings(root: Path) -> list[str]:
    """Problems of each layout in `root`: missing classes and recordings, and files that do not begin as recordings."""
    problems: list[str] = []
    for found in all_layouts(root):
        try:
            listing = list_recordings(found)
            split_recordings(listing.recordings, "last100", layout=found.layout)
        except DataError as error:
            problems.append(str(error))
            continue
        problems += listing.gaps
        problems += [problem for one in listing.recordings if (problem := _file_problem(found, one.path))]
    return problems


def _file_problem(found: FoundLayout, path: Path) -> str:
    try:
        (check_aedat if found.files == "aedat" else check_archive)(path)
    except DataError as error:
        return str(error)
    except OSError as error:
        return described(error)
    return ""
