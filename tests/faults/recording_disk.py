"""Disks that record every write and flush: `python recording_disk.py FOLDER` serves them as files, for loop devices.

It is a small FUSE file system that speaks the kernel's protocol itself. Each line of stdin is a request as JSON, a list
of its name and arguments, and each line of stdout is the answer:

    load NAME PATH                      make a disk with the content of a file
    log NAME                            its writes as [offset, size], null for a flush
    length NAME                         how many of these there are
    crash NAME BASE AT KEPT STATE       make the disk STATE, as a power loss leaves NAME, see `Image.crashed`
    remove NAME
"""

import ctypes
import errno
import json
import os
import select
import stat
import struct
import sys
from dataclasses import dataclass, field
from pathlib import Path

BLOCK = 4096
SECTOR = 512
ROOT = 1  # the number of the folder; files have higher ones
LARGEST_WRITE = 2**20
MNT_DETACH = 2

LOOKUP, FORGET, GETATTR, SETATTR, OPEN, READ, WRITE, STATFS, RELEASE, FSYNC = 1, 2, 3, 4, 14, 15, 16, 17, 18, 20
FLUSH, INIT, OPENDIR, READDIR, RELEASEDIR, INTERRUPT, DESTROY, BATCH_FORGET = 25, 26, 27, 28, 29, 36, 38, 42
UNANSWERED = {FORGET, BATCH_FORGET, INTERRUPT}


@dataclass
class Image:
    """The content of a disk, by blocks; missing ones are zeros. `log` has its writes, None for a flush."""

    size: int
    blocks: dict[int, bytes] = field(default_factory=dict)
    log: list[tuple[int, bytes] | None] = field(default_factory=list)

    @classmethod
    def load(cls, path):
        """Read a sparse file."""
        image = cls(path.stat().st_size)
        with path.open("rb") as file:
            at = 0
            while at < image.size:
                try:
                    at = os.lseek(file.fileno(), at, os.SEEK_DATA)
                except OSError:  # the rest is a hole
                    break
                end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
                file.seek(at)
                image.put(at, file.read(end - at))
                at = end
        return image

    def put(self, offset, content):
        end = offset + len(content)
        for number in range(offset // BLOCK, (end + BLOCK - 1) // BLOCK):
            start = number * BLOCK
            low, high = max(start, offset), min(start + BLOCK, end)
            part = content[low - offset : high - offset]
            if len(part) < BLOCK:
                old = self.blocks.get(number, bytes(BLOCK))
                part = old[: low - start] + part + old[high - start :]
            self.blocks[number] = part

    def get(self, offset, size):
        end = min(offset + size, self.size)
        first = offset // BLOCK
        joined = b"".join(
            self.blocks.get(number) or bytes(BLOCK) for number in range(first, (end + BLOCK - 1) // BLOCK)
        )
        return joined[offset - first * BLOCK : end - first * BLOCK]

    def crashed(self, at, kept, base):
        """The state of this disk, which began as `base`, after a power loss behind the first `at` entries of the log.

        Everything before the last flush is there. Of the later entries, only those in `kept` are, and of these only the
        listed sectors, None for all.
        """
        image = Image(self.size, dict(base.blocks))
        flushed = max((number for number in range(at) if self.log[number] is None), default=-1)
        for number in range(at):
            entry = self.log[number]
            if entry is None or not (number < flushed or number in kept):
                continue
            offset, content = entry
            sectors = None if number < flushed else kept[number]
            if sectors is None:
                image.put(offset, content)
            else:
                for sector in sectors:
                    image.put(offset + sector * SECTOR, content[sector * SECTOR : (sector + 1) * SECTOR])
        return image


def serve(folder):
    """Serve disks in a folder until it is unmounted or stdin is closed."""
    try:
        device = _mount(folder)
    except OSError as error:
        print(json.dumps({"problem": error.strerror}), flush=True)
        return
    print(json.dumps({"problem": None}), flush=True)
    server = _Server()
    while True:
        ready, _, _ = select.select([device, sys.stdin], [], [])
        if sys.stdin in ready:
            if not (line := sys.stdin.readline()):
                _libc().umount2(folder.encode(), MNT_DETACH)
                return
            print(json.dumps(server.asked(*json.loads(line))), flush=True)
        if device in ready:
            try:
                request = os.read(device, LARGEST_WRITE + 2**16)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                raise
            if (reply := server.reply(request)) is not None:
                os.write(device, reply)


def _libc():
    return ctypes.CDLL(None, use_errno=True)


def _mount(folder):
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other".encode()
    if _libc().mount(b"rbp-disk", folder.encode(), b"fuse", 0, options):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return device


class _Server:
    """The images by number, and the answers to the kernel and the tests."""

    def __init__(self):
        self.images = {}
        self.numbers = {}
        self._newest = ROOT

    def asked(self, what, name, *rest):
        """Answer a request of the tests."""
        if what == "load":
            return self._add(name, Image.load(Path(rest[0])))
        image = self.images[self.numbers[name]]
        if what == "length":
            return len(image.log)
        if what == "log":
            return [entry and (entry[0], len(entry[1])) for entry in image.log]
        if what == "crash":
            base, at, kept, state = rest
            numbers = {int(number): sectors for number, sectors in kept.items()}
            return self._add(state, image.crashed(at, numbers, self.images[self.numbers[base]]))
        del self.images[self.numbers.pop(name)]
        return None

    def _add(self, name, image):
        # Never reuse a number: the kernel caches what it has read from it.
        self._newest += 1
        self.numbers[name] = self._newest
        self.images[self._newest] = image

    def reply(self, request):
        """The answer to a request of the kernel, None if it expects none."""
        _, opcode, unique, node = struct.unpack_from("<IIQQ", request)
        if opcode in UNANSWERED:
            return None
        try:
            body, code = self._do(opcode, node, request[40:]), 0
        except OSError as error:
            body, code = b"", -(error.errno or errno.EIO)
        return struct.pack("<IiQ", 16 + len(body), code, unique) + body

    def _do(self, opcode, node, body):
        if opcode == INIT:
            # Version 7.31 and large writes, without other features.
            features = 1 << 5 | 1 << 22
            return struct.pack("<IIIIHHIIHH32x", 7, 31, 2**17, features, 12, 9, LARGEST_WRITE, 1, 256, 0)
        if opcode == LOOKUP:
            number = self.numbers.get(body.rstrip(b"\0").decode())
            if number is None:
                raise OSError(errno.ENOENT, "")
            return struct.pack("<QQQQII", number, 0, 0, 0, 0, 0) + self._attributes(number)
        if opcode in (GETATTR, SETATTR):
            return struct.pack("<QII", 0, 0, 0) + self._attributes(node)
        if opcode in (OPEN, OPENDIR):
            return bytes(16)
        if opcode == READ:
            _, offset, size = struct.unpack_from("<QQI", body)
            return self._image(node).get(offset, size)
        if opcode == WRITE:
            _, offset, size = struct.unpack_from("<QQI", body)
            content = body[40 : 40 + size]
            image = self._image(node)
            image.put(offset, content)
            image.log.append((offset, content))
            return struct.pack("<II", size, 0)
        if opcode == FSYNC:
            self._image(node).log.append(None)
            return b""
        if opcode in (FLUSH, RELEASE, RELEASEDIR, READDIR, DESTROY):
            return b""
        if opcode == STATFS:
            return struct.pack("<QQQQQIIII", 0, 0, 0, 0, 0, BLOCK, 255, BLOCK, 0) + bytes(24)
        raise OSError(errno.ENOSYS, "")

    def _image(self, node):
        if node not in self.images:
            raise OSError(errno.ENOENT, "")
        return self.images[node]

    def _attributes(self, node):
        folder = node == ROOT
        size = 0 if folder else self._image(node).size
        mode = stat.S_IFDIR | 0o700 if folder else stat.S_IFREG | 0o600
        times = (0,) * 6
        return struct.pack("<QQQ3Q3I7I", node, size, size // SECTOR, *times, mode, 1, 0, 0, 0, BLOCK, 0)


if __name__ == "__main__":
    serve(sys.argv[1])
