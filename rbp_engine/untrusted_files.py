"""Open, read and parse files that somebody else may have made: in bounded time and memory, and never blocking.

Every error is an OSError (the file cannot be read) or a ValueError (its contents cannot be used); `described` turns the
first into a sentence that names the file.
"""

import errno
import json
import os
import re
import stat
from collections.abc import Callable
from io import BufferedReader
from typing import Any, Final

MIB: Final = 2**20
#: For a file that a person writes, as a network of their own.
TEXT_LIMIT: Final = MIB
#: For a preset or settings. Reading the worst of this size takes 0.1 s, and a preset may have thirty parents.
TOML_LIMIT: Final = MIB // 4
#: For a file that a program writes: a run's run.json, a summary. Parsing the worst of this size takes 200 MB.
JSON_LIMIT: Final = 8 * MIB

# Code that walks through values is recursive, so this is far below Python's limit of recursion.
_DEEPEST: Final = 32
_TOO_DEEP: Final = f"nested more than {_DEEPEST} deep"
# Arrays and objects of JSON: each takes a microsecond and three bytes of the text.
_MOST_CONTAINERS: Final = 200_000
# What is done with the values of a TOML file takes up to a millisecond for each.
_MOST_VALUES: Final = 4000

_KINDS: Final = {
    stat.S_IFIFO: "a named pipe",
    stat.S_IFDIR: "a directory",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
# Strings of many lines, strings of one line, comments. A quote or two may be inside the former, and before their end.
TOML_TEXT: Final = re.compile(
    r'"""(?:[^"\\]++|\\.|"{1,2}(?!"))*+["\\]{0,5}'
    r"|'''(?:[^']++|'{1,2}(?!'))*+'{0,5}"
    r'|"(?:[^"\\\n]++|\\[^\n])*+["\\]?'
    r"|'[^'\n]*+'?"
    r"|#[^\n]*+",
    re.DOTALL,
)
# A key of more parts than the deepest nesting, in a text without strings. It is looked for only where a key can begin.
_LONG_KEY: Final = re.compile(rf"(?<![A-Za-z0-9_ \t-])[ \t]*+(?:[A-Za-z0-9_-]*+[ \t]*+\.[ \t]*+){{{_DEEPEST + 1}}}")


class _Refused(OSError):
    def __str__(self) -> str:
        return described(self)


class NotAFile(_Refused):
    """A path leads to a named pipe, a device, a socket or a folder, or is no possible path."""


class TooLarge(_Refused):
    """A file is larger than any of its kind has reason to be."""


class TooComplex(ValueError):
    """A text holds more values, or more deeply nested ones, than any of its kind has reason to."""


def described(error: OSError) -> str:
    """An error of this module, or of `open`, as a sentence: `p.toml cannot be read: a named pipe, not a file`."""
    return f"{error.filename} cannot be read: {error.strerror or type(error).__name__}"


def open_untrusted(path: str | os.PathLike[str], *, limit: int | None = None) -> BufferedReader:
    """Open a regular file for reading in bytes; a symbolic link is followed.

    `limit` is the largest size in bytes. Raises NotAFile, TooLarge and the OSErrors of `open`, such as
    FileNotFoundError. Never blocks.
    """
    try:
        # Opening a device can have effects, and opening a pipe releases its writer, so look before.
        _check(os.stat(path), path, limit)  # noqa: PTH116
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except ValueError:
        raise NotAFile(errno.EINVAL, "a name that no file can have", os.fspath(path)) from None
    try:
        _check(os.fstat(descriptor), path, limit)  # it may have been exchanged meanwhile
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_untrusted(path: str | os.PathLike[str], limit: int) -> bytes:
    """The contents of a regular file of at most `limit` bytes. Raises OSErrors as `open_untrusted` does."""
    with open_untrusted(path, limit=limit) as file:
        content = file.read(os.fstat(file.fileno()).st_size + 1)  # to ask for the limit would take that much memory
        if content and len(content) <= limit:  # those of /proc are larger than they say, and others may grow
            content += file.read(limit + 1 - len(content)) if file.peek(1) else b""
    if content is None:
        raise NotAFile(errno.EAGAIN, "it has nothing to read yet, as no file on a disk", os.fspath(path))
    if len(content) > limit:
        raise _too_large(path, limit)
    return content


def read_untrusted_text(path: str | os.PathLike[str], limit: int = TEXT_LIMIT, errors: str = "strict") -> str:
    """The contents of a regular UTF-8 file, with its line ends unchanged, without a byte order mark.

    Raises OSErrors as `open_untrusted` does, and UnicodeDecodeError, which `errors="replace"` avoids.
    """
    return read_untrusted(path, limit).decode("utf-8-sig", errors)


def parse_json(content: bytes, limit: int = JSON_LIMIT) -> Any:
    """The value of a JSON text in UTF-8. Raises ValueError; TooComplex, before parsing, if it is long or deep."""
    if len(content) > limit:
        raise TooComplex(f"longer than {_size(limit)}")
    text = content.decode("utf-8-sig", "surrogatepass")  # as json.loads does
    if _opening(text) <= _DEEPEST:
        return json.loads(text)
    # Without the strings: a run.json may have a diff, which is full of brackets.
    strings_apart = content.replace(rb"\\", b"").replace(rb"\"", b"").split(b'"')
    if _opening(b"".join(strings_apart[::2]).decode(errors="replace")) > _MOST_CONTAINERS:
        raise TooComplex(f"more than {_MOST_CONTAINERS} arrays and objects")
    return _shallow(json.loads, text)


def parse_toml(text: str, limit: int = TOML_LIMIT) -> dict[str, Any]:
    """The values of a TOML text.

    Raises `tomli.TOMLDecodeError` and other ValueErrors; TooComplex if it is long, has thousands of keys, tables and
    array elements, or nests them more than 32 deep.
    """
    import tomli  # what only reads JSON need not load it

    if len(text) > limit:
        raise TooComplex(f"longer than {_size(limit)}")
    # Each key, table and element has one of these signs. Most files have few of them, even in strings.
    if sum(map(text.count, "=[{,")) > _MOST_VALUES or _opening(text) > _DEEPEST or text.count(".") > _DEEPEST:
        bare = TOML_TEXT.sub("", text)
        if sum(map(bare.count, "=[{,")) > _MOST_VALUES:
            raise TooComplex(f"more than {_MOST_VALUES} keys, tables and array elements")
        if _LONG_KEY.search(bare):
            raise TooComplex(_TOO_DEEP)
    values: dict[str, Any] = _shallow(tomli.loads, text)
    return values


def _check(found: os.stat_result, path: str | os.PathLike[str], limit: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = stat.S_IFMT(found.st_mode)
        number = errno.EISDIR if kind == stat.S_IFDIR else errno.EINVAL
        raise NotAFile(number, f"{_KINDS.get(kind, 'of an unknown kind')}, not a file", os.fspath(path))
    if limit is not None and found.st_size > limit:
        raise _too_large(path, limit)


def _too_large(path: str | os.PathLike[str], limit: int) -> TooLarge:
    return TooLarge(errno.EFBIG, f"larger than {_size(limit)}", os.fspath(path))


def _size(limit: int) -> str:
    for size, unit in ((1024 * MIB, "GiB"), (MIB, "MiB"), (1024, "KiB")):
        if limit % size == 0:
            return f"{limit // size} {unit}"
    return f"{limit} bytes"


def _opening(text: str) -> int:
    return text.count("[") + text.count("{")


def _shallow(parse: Callable[[str], Any], text: str) -> Any:
    """What `parse` makes of a text. Raises TooComplex if that is nested too deeply, also by dotted keys and headers."""
    try:
        values = parse(text)
    except RecursionError:
        raise TooComplex(_TOO_DEEP) from None
    level: list[Any] = [values]
    for _ in range(_DEEPEST):
        level = [
            inner
            for value in level
            for inner in (value.values() if isinstance(value, dict) else value)
            if isinstance(inner, (dict, list))
        ]
    if level:
        raise TooComplex(_TOO_DEEP)
    return values
