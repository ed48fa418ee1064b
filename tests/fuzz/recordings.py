"""Recordings that a stranger has been at: each is read, or named in one sentence, in little time and memory."""

import os
import random

from rbp_engine.data.events.plan import FrameSettings
from rbp_engine.errors import DataError
from rbp_engine.untrusted_files import described

#: Beyond the names of files.
LONGEST_SENTENCE = 400


def endless(path):
    path.unlink()
    with path.open("wb") as file:
        file.truncate(2**40)


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


#: What stands in the place of a recording, and the words that refuse it.
NO_FILES = [
    (endless, "larger than"), (device, "a device"), (pipe, "a named pipe")
]  # fmt: skip


def problems_of(data_set, root):
    """Why the recordings in a folder cannot be decoded, a sentence for each that cannot."""
    try:
        plan = data_set.plan(root, FrameSettings(timesteps=2, size=data_set.image_size[0]))
    except DataError as error:
        return [str(error)]
    except OSError as error:
        return [described(error)]
    found = []
    for recording in (*plan.train, *plan.test):
        try:
            frames = plan.read(recording)
            assert frames.shape == (2, 2, *data_set.image_size) and frames.sum() > 0
        except DataError as error:
            found.append(str(error))
        except OSError as error:
            found.append(described(error))
    return found


def change(path, draw):
    """Do one thing to a file; what it was."""
    content = bytearray(path.read_bytes())
    place, length = draw.randrange(len(content) or 1), draw.choice([1, 2, 4, 5, 8, 64])
    what = draw.choice(["cut", "flip", "fill", "double", "drop", "insert", "empty"])
    if what == "cut":
        content = content[:place]
    elif what == "flip" and content:
        content[place] ^= 1 << draw.randrange(8)
    elif what == "fill":
        content[place : place + length] = bytes([draw.choice([0, 127, 128, 255])]) * length
    elif what == "double":
        content[place:place] = content[place : place + length]
    elif what == "drop":
        del content[place : place + length]
    elif what == "insert":
        content[place:place] = draw.randbytes(length)
    elif what == "empty":
        content.clear()
    path.write_bytes(content)
    return f"{what} {length} at {place}"


def broken_promises(data_set, root, cases=50, seed=1):
    """What goes wrong with a set in which a file or two is changed; afterwards it is as before."""
    broken = []
    files = sorted(path for path in root.rglob("*") if path.is_file())
    for case in range(cases):
        draw = random.Random(seed * 1_000_003 + case)
        before = {path: path.read_bytes() for path in draw.sample(files, draw.choice([1, 1, 2]))}
        did = [f"{path.relative_to(root)} {change(path, draw)}" for path in before]
        try:
            for problem in problems_of(data_set, root):
                without_names = problem.replace(str(root), "")
                if len(without_names) > LONGEST_SENTENCE or not problem.isprintable():
                    broken.append(f"case {case} ({did}): {problem!r}")
        except Exception as error:
            broken.append(f"case {case} ({did}): {type(error).__name__}: {error}")
        for path, content in before.items():
            path.write_bytes(content)
    return broken
