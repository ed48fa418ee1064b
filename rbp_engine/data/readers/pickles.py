"""Read the pickles of data files without making any object that a pickle asks for.

A pickle is a program: it names functions to call and objects to fill. Here a call is recorded, with its arguments and
its state, and never made; who reads the file builds an array from the recorded bytes. Only the instructions that
numpy's and torch's files consist of are followed, and only as many as such a file has.
"""

import io
import pickle
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

# CIFAR-100's training set, the longest of these files, has 200 000 to 600 000, by the protocol.
_MOST_INSTRUCTIONS: Final = 1_000_000
_MOST_ARGUMENTS: Final = 8
# Longer texts hold an array's bytes, one character each.
_LONG_TEXT: Final = 2**16

# Plain values and how they are put together: the instructions that need no care.
_HARMLESS: Final = (
    pickle.PROTO, pickle.FRAME, pickle.STOP, pickle.MARK,
    pickle.NONE, pickle.NEWTRUE, pickle.NEWFALSE,
    pickle.BININT, pickle.BININT1, pickle.BININT2, pickle.LONG1, pickle.BINFLOAT,
    pickle.INT, pickle.LONG, pickle.STRING, pickle.SHORT_BINSTRING, pickle.BINSTRING,
    pickle.SHORT_BINBYTES, pickle.BINBYTES, pickle.BINBYTES8,
    pickle.SHORT_BINUNICODE,
    pickle.LIST, pickle.EMPTY_LIST, pickle.APPEND, pickle.APPENDS, pickle.EMPTY_DICT,
    pickle.EMPTY_TUPLE, pickle.TUPLE, pickle.TUPLE1, pickle.TUPLE2, pickle.TUPLE3,
    pickle.PUT, pickle.BINPUT, pickle.LONG_BINPUT, pickle.MEMOIZE,
    pickle.GET, pickle.BINGET, pickle.LONG_BINGET,
    pickle.GLOBAL, pickle.STACK_GLOBAL, pickle.BINPERSID,
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A function or class that a pickle refers to, as `module.name`."""

    text: str


@dataclass
class Call:
    """A call that a pickle asks for, which was not made, and the state that it would give the result."""

    function: str
    arguments: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True)
class Persistent:
    """A reference to something outside of the pickle."""

    key: Any


def unpickle(written: bytes, names: Collection[str]) -> Any:
    """What a pickle holds; byte strings of Python 2 as bytes. It may refer to these `names` (`module.name`) only.

    Raises pickle.UnpicklingError, and whatever else a damaged pickle leads to.
    """
    return _Recording(written, names).load()


# The unpickler written in C allocates memory for as many objects as a file claims, and a few bytes can claim billions;
# and its instructions cannot be replaced.
class _Recording(pickle._Unpickler):
    stack: list[Any]
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]
    read: Callable[[int], bytes]

    def __init__(self, written: bytes, names: Collection[str]) -> None:
        super().__init__(io.BytesIO(written), encoding="bytes")
        self.names = names
        self.bytes_left = len(written)
        self.dispatch = _Instructions()  # type: ignore[misc]  # the class has one for all files

    def find_class(self, module: str, name: str) -> Any:
        full = f"{module}.{name}"
        if full not in self.names:
            raise pickle.UnpicklingError(f"it refers to {full[:80]}, which is no array")
        return Name(full)

    def persistent_load(self, key: Any) -> Any:
        return Persistent(key)

    def record_call(self) -> None:
        arguments = self.stack.pop()
        function = self.stack.pop()
        if type(function) is not Name or type(arguments) is not tuple or len(arguments) > _MOST_ARGUMENTS:
            raise pickle.UnpicklingError("it calls what is no function of an array")
        encoding = function.text == "_codecs.encode"
        self.stack.append(self.encoded(*arguments) if encoding else Call(function.text, arguments))

    def record_state(self) -> None:
        state = self.stack.pop()
        if type(self.stack[-1]) is not Call:
            raise pickle.UnpicklingError("it sets the state of what is no array")
        self.stack[-1].state = state

    def encoded(self, text: str, codec: str | bytes) -> bytes:
        """The bytes that Python 3 writes as text in Python 2's protocols; other codecs may be slow."""
        if codec not in ("latin1", b"latin1"):
            raise pickle.UnpicklingError("it has bytes in another encoding than latin1")
        # The same text can be referred to many times.
        self.bytes_left -= len(text)
        if self.bytes_left < 0:
            raise pickle.UnpicklingError("it has more bytes than the file")
        return text.encode("latin1")

    def read_text(self) -> None:
        self._read_text(4)

    def read_long_text(self) -> None:
        self._read_text(8)

    def _read_text(self, bytes_of_size: int) -> None:
        size = int.from_bytes(self.read(bytes_of_size), "little")
        written = self.read(size)
        # One character beyond latin1 makes Python keep all of them in up to four bytes each.
        if len(written) > _LONG_TEXT and np.frombuffer(written, np.uint8).max() > 0xC3:
            raise pickle.UnpicklingError("it has a long text that stands for no bytes")
        self.append(str(written, "utf-8"))

    def read_byte_array(self) -> None:
        # Python's own makes room for the size that the file claims.
        self.append(self.read(int.from_bytes(self.read(8), "little")))

    def make_dictionary(self) -> None:
        items = self.pop_mark()
        self.stack.append({})
        self._set(items)

    def set_item(self) -> None:
        value = self.stack.pop()
        self._set([self.stack.pop(), value])

    def set_items(self) -> None:
        self._set(self.pop_mark())

    def _set(self, items: list[Any]) -> None:
        # Other keys can take for ever to hash, or to tell from one another.
        if type(self.stack[-1]) is not dict or not all(type(key) in (str, bytes) for key in items[::2]):
            raise pickle.UnpicklingError("it has a key that is neither text nor bytes")
        self.stack[-1].update(zip(items[::2], items[1::2], strict=True))


_FOLLOWED: Final[dict[int, Callable[[Any], None]]] = {
    code[0]: pickle._Unpickler.dispatch[code[0]] for code in _HARMLESS
} | {
    pickle.REDUCE[0]: _Recording.record_call,
    pickle.BUILD[0]: _Recording.record_state,
    pickle.BINUNICODE[0]: _Recording.read_text,
    pickle.BINUNICODE8[0]: _Recording.read_long_text,
    pickle.BYTEARRAY8[0]: _Recording.read_byte_array,
    pickle.DICT[0]: _Recording.make_dictionary,
    pickle.SETITEM[0]: _Recording.set_item,
    pickle.SETITEMS[0]: _Recording.set_items,
}


class _Instructions(dict[int, Callable[[Any], None]]):
    """The instructions by their codes, for one file: each use is counted."""

    def __init__(self) -> None:
        super().__init__(_FOLLOWED)
        self.left = _MOST_INSTRUCTIONS

    def __getitem__(self, code: int) -> Callable[[Any], None]:
        self.left -= 1
        if self.left < 0:
            raise pickle.UnpicklingError(f"it has more than {_MOST_INSTRUCTIONS} instructions")
        return super().__getitem__(code)

    def __missing__(self, code: int) -> Callable[[Any], None]:
        raise pickle.UnpicklingError(f"it has the instruction {code:#04x}, which no pickled array needs")
