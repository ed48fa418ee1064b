"""Whose a file or folder is, and folders of the user's own that others may not enter."""

import os
import stat
from pathlib import Path


def is_ours(found: os.stat_result) -> bool:
    """Whether something belongs to this user, or to root, who could exchange rbp itself."""
    return found.st_uid in (os.geteuid(), 0)


def name_of(user: int) -> str:
    """The name of a user, or the number of one without a name."""
    import pwd

    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"


def owner_problem(path: Path) -> str:
    """Why a path leads to another user's, as `belongs to mallory`; "" if it does not, or nothing is there.

    A user's own link to a folder of their own is fine. Only the last part of the path is checked, and where it leads.
    """
    for follow, what in ((False, "is a link that belongs to"), (True, "belongs to")):
        try:
            found = os.stat(path, follow_symlinks=follow)  # noqa: PTH116
        except OSError:
            return ""
        if not is_ours(found):
            return f"{what if follow or stat.S_ISLNK(found.st_mode) else 'belongs to'} {name_of(found.st_uid)}"
    return ""


def writers_problem(path: Path) -> str:
    """Why others may write into a folder; "" if only this user, this user's own group or root may, or it is missing."""
    try:
        found = path.stat()
    except OSError:
        return ""
    if problem := owner_problem(path):
        return problem
    if found.st_mode & stat.S_IWOTH:
        return "may be written by everybody"
    if found.st_mode & stat.S_IWGRP and found.st_gid != os.getegid():
        return "may be written by another group"
    return ""


def make_private(path: Path) -> Path:
    """Make a folder that only this user may enter, or close one of theirs that others may; returns it.

    Raises OSError if that is impossible, or the folder belongs to another user.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700, exist_ok=True)
    found = path.stat()
    if not is_ours(found):
        raise PermissionError(13, f"it belongs to {name_of(found.st_uid)}", str(path))
    if found.st_mode & 0o077 and found.st_uid == os.geteuid():
        path.chmod(0o700)
    return path
