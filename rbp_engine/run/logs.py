"""Which files hold what the processes of a run have written."""

from pathlib import Path

from rbp_engine.run.layout import RunDirectory
from rbp_engine.run.status import last_attempt

LAUNCHER = "launcher"
STREAMS = ("stdout.log", "stderr.log")


def log_files(run: RunDirectory) -> dict[str, tuple[Path, ...]]:
    """stdout and stderr by process, as far as they are there: "0", "1", … by rank, and torchrun's own as "launcher".

    torchrun makes a folder for each attempt and node, `ranks/<id>_<random>/attempt_0/<local rank>`; of attempts only
    the newest counts. With several nodes a process is named by node and local rank, as "1.0".
    """
    own = _streams(run.stdout().parent)
    folders = _torchrun_folders(run)
    if not folders:
        return {"0": own} if own else {}
    found = {}
    for number, folder in enumerate(folders):
        node = f"{number}." if len(folders) > 1 else ""
        for local in sorted(
            (path for path in folder.iterdir() if path.name.isdigit()), key=lambda path: int(path.name)
        ):
            if files := _streams(local):
                found[f"{node}{local.name}"] = files
    return found | ({LAUNCHER: own} if own else {})


def _torchrun_folders(run: RunDirectory) -> list[Path]:
    """The folders of the newest attempt: those made since it was started, else the newest one alone."""
    try:
        folders = sorted((path.stat().st_mtime, path) for path in run.ranks.glob("*/attempt_0") if path.is_dir())
    except OSError:  # the run was removed at this moment
        return []
    if not folders:
        return []
    started = last_attempt(run).get("t")
    since = started - 1.0 if isinstance(started, (int, float)) else folders[-1][0]
    return [path for made, path in folders if made >= since] or [folders[-1][1]]


def _streams(folder: Path) -> tuple[Path, ...]:
    return tuple(path for name in STREAMS if (path := folder / name).is_file())
