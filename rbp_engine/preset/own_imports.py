"""The files that own code consists of: the one that a preset names, and what it imports from its own folder.

They are found from import statements; nothing is executed. What a statement does not name, as an import by `importlib`,
is not found, and a run refuses it (`rbp_engine/user_code.py`).
"""

import ast
import contextlib
import re
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rbp_engine.untrusted_files import MIB
from rbp_engine.user_code import is_installed, place_of_module

#: Of all files together.
MOST_FILES: Final = 100
LARGEST_TOTAL: Final = 4 * MIB
_MOST_IMPORTS: Final = 5000
# Own code imports it from wherever it is, also beside a checkout of it.
_PACKAGE: Final = "rbp_engine"
#: Folders below that of the file; and bytes of a path from there: a packed run takes no more.
DEEPEST: Final = 4
_LONGEST_PATH: Final = 150
# Python's parser takes time by the square of the parts of the name of a module, and nobody has so many.
_LONG_NAME: Final = re.compile(
    rb"(?<![\w.])(?:[\w\x80-\xff]++(?:[ \t\f]|\\\r?\n)*+\.(?:[ \t\f]|\\\r?\n)*+){100}",
)
# Likewise of the parts of an f-string.
_MOST_BRACES: Final = 10_000
_BLOCKS: Final = ("body", "orelse", "finalbody", "handlers", "cases")

#: The contents of a file by its path in the folder; None if there is none. Raises OSError if it cannot be read.
Read = Callable[[str], bytes | None]


@dataclass(frozen=True)
class _Import:
    """`import module` or `from module import names`, with the dots of a relative one."""

    line: int
    module: str
    names: tuple[str, ...] = ()

    @property
    def level(self) -> int:
        return len(self.module) - len(self.module.lstrip("."))

    @property
    def parts(self) -> tuple[str, ...]:
        return tuple(filter(None, self.module.split(".")))


def imported_files(name: str, read: Read, folder: Path | None) -> dict[str, bytes]:
    """The file `name` and what it imports from its folder, by path relative to that.

    What lies there is meant by an import of its name, also of one that an installed package has. Without the `folder`,
    they are the copies in a run; in the user's own, what is neither there nor installed is refused.

    Raises OSError for a file that cannot be read, and ValueError for what no run can have, with what to do.
    """
    files: dict[str, bytes] = {}
    pending, size, imports = [name], 0, 0
    while pending:
        file = pending.pop(0)
        if file in files:
            continue
        source = files[file] = read(file) or b""
        size += len(source)
        _refuse_too_much(file, len(files), size)
        for one in _imports_of(statements(source, file)):
            if (imports := imports + 1) > _MOST_IMPORTS:
                raise ValueError(f"it has more than {_MOST_IMPORTS} imports")
            if one.level == 0 and one.parts[0] == _PACKAGE:
                continue
            needed = _needed(one, file, read)
            if not needed and one.level == 0 and folder is not None:
                _refuse_elsewhere(one.parts[0], f"{file} line {one.line} imports {one.module}", folder)
            pending += needed
    return files


def _refuse_too_much(file: str, count: int, size: int) -> None:
    if count > MOST_FILES:
        raise ValueError(f"it imports more than {MOST_FILES} files of its folder: install them as a package")
    if size > LARGEST_TOTAL:
        raise ValueError(f"its files have more than {LARGEST_TOTAL // MIB} MiB: install some of them as a package")
    if file.count("/") > DEEPEST or len(file.encode(errors="replace")) > _LONGEST_PATH:
        raise ValueError(f"{file} is too deep, or its path too long: at most {DEEPEST} folders, {_LONGEST_PATH} bytes")


def _needed(one: _Import, file: str, read: Read) -> list[str]:
    """The files of the folder that an import executes. Raises ValueError if it leads out of the folder."""
    package = Path(file).parent.parts
    if one.level > len(package) + 1:
        raise ValueError(
            f"{file} line {one.line} imports {one.module}, which is outside of the folder of the file that the preset "
            "names: move it into this folder, or install it as a package"
        )
    base = package[: len(package) + 1 - one.level] if one.level else ()
    full = (*base, *one.parts)
    # Packages are executed on the way. A relative import also executes the one that it starts from.
    modules = [full[:end] for end in range(len(base) if one.level else 1, len(full) + 1)]
    modules += [(*full, name) for name in one.names]
    found = (next((path for path in _files_of(parts) if read(path) is not None), None) for parts in modules)
    return [path for path in found if path is not None]


def _files_of(parts: Sequence[str]) -> tuple[str, ...]:
    """The files that a module may have, by path in the folder, in the order that Python looks; Python keeps compiled
    files in `__pycache__`, and no module is there."""
    if "__pycache__" in parts:
        return ()
    return ("/".join((*parts, "__init__.py")), *(["/".join(parts) + ".py"] if parts else []))


def _refuse_elsewhere(name: str, where: str, folder: Path) -> None:
    """Raise ValueError if a top-level module that is not in the folder is not installed either, and so recorded
    nowhere."""
    # A run would not find it there, unless by chance. Nor is it recorded if it is the package that the folder is in.
    place = place_of_module(name) or place_of_module(name, _around(folder))
    if place is not None and (not is_installed(place) or folder.resolve().is_relative_to(place)):
        raise ValueError(
            f"{where} ({place}), which is neither in {folder} nor installed, and which no run would record: move it "
            "there, import it with a dot if it is in the same package, or install it"
        )


def _around(folder: Path) -> list[Path]:
    """Where users may expect a module to be found."""
    places = [folder.resolve().parent, *Path(__file__).resolve().parents[2:3]]
    with contextlib.suppress(FileNotFoundError):  # the working directory is gone
        places.append(Path.cwd())
    return places


def statements(source: bytes, file: str) -> list[ast.stmt]:
    """The statements of a file. Raises ValueError if it is not Python."""
    with in_words(source, file):
        return ast.parse(source).body


@contextlib.contextmanager
def in_words(source: bytes, file: str) -> Iterator[None]:
    """Raise ValueError for what Python's parser raises, or would take long for."""
    if _LONG_NAME.search(source):
        raise ValueError(f"{file} is not usable: a name of more than 100 parts")
    if source.count(b"{") > _MOST_BRACES:
        raise ValueError(f"{file} is not usable: more than {_MOST_BRACES} braces")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # they quote the file, whose text must not reach the terminal
            yield
    except SyntaxError as error:
        line = "" if error.lineno is None else f" line {error.lineno}"
        raise ValueError(f"{file}{line} is not Python: {error.msg}") from None
    except (RecursionError, MemoryError):
        raise ValueError(f"{file} is not usable: nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"{file} is not Python: {error}") from None


def _imports_of(body: Iterable[Any]) -> Iterator[_Import]:
    """The imports in statements, without those that are only for a type checker or for the file as a program."""
    pending = [*body][::-1]
    while pending:  # a chain of elif can be deeper than Python's stack
        one = pending.pop()
        if isinstance(one, ast.Import):
            yield from (_Import(one.lineno, alias.name) for alias in one.names)
        elif isinstance(one, ast.ImportFrom):
            yield _Import(one.lineno, "." * one.level + (one.module or ""), tuple(alias.name for alias in one.names))
        else:
            skipped = "body" if isinstance(one, ast.If) and _is_false_in_a_run(one.test) else ""
            inner = [part for block in _BLOCKS if block != skipped for part in getattr(one, block, [])]
            pending += inner[::-1]


def _is_false_in_a_run(test: ast.expr) -> bool:
    """Whether a condition is `TYPE_CHECKING` or `__name__ == "__main__"`."""
    if isinstance(test, ast.Compare):
        return isinstance(test.left, ast.Name) and test.left.id == "__name__" and isinstance(test.ops[0], ast.Eq)
    return (test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")) == "TYPE_CHECKING"


def names_defined(source: bytes, file: str) -> Collection[str]:
    """The names that a file defines or imports at its top level. Raises ValueError if it is not Python."""
    import symtable

    with in_words(source, file):
        symbols = symtable.symtable(source, file, "exec").get_symbols()  # type: ignore[arg-type]  # or bytes
    return {symbol.get_name() for symbol in symbols if symbol.is_assigned() or symbol.is_imported()}
