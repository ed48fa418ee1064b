"""A shell script that trains a run again elsewhere, from nothing but what is in it.

What it is made of may be anybody's: text of the run stands only in comments on one line, in quotes, and in
here-documents that nothing in them can end.
"""

import base64
import shlex
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from rbp_engine.data.catalog import CATALOG
from rbp_engine.preset import read_resolved, resolved_toml
from rbp_engine.printable import LONGEST_TEXT, Lines, one_line, visible
from rbp_engine.run import trust
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import inside
from rbp_engine.run.files.layout import ID, RunDirectory, read_json
from rbp_engine.run.files.run_json import LARGEST_DIFF, RunJson, read_run_json
from rbp_engine.run.files.summary import Summary, load_summary
from rbp_engine.run.launch.environment import TO_THE_LAST_BIT
from rbp_engine.untrusted_files import TEXT_LIMIT, read_untrusted

if TYPE_CHECKING:
    from rbp_engine.preset.schema import Preset

_DIFF: Final = "uncommitted.diff"
_REQUIREMENTS: Final = "requirements.txt"
_TEACHER: Final = "teacher.safetensors"
#: Which card it is depends on the machine.
_OF_THE_MACHINE: Final = "CUDA_VISIBLE_DEVICES"
_MISSING: Final = 3


def reproduction(run: RunDirectory) -> Lines:
    """The script.

    Raises RunError for a damaged run or one of another program, and Untrusted for one with code that this user has not
    launched: the script executes it, as the user's own.
    """
    summary, origin = load_summary(run), read_run_json(run)
    if summary.program:
        raise RunError(f"{run.id} was trained by another program, {summary.program}: rbp does not know how to start it")
    trust.require_code(run)
    preset = read_resolved(run.preset_toml)
    parts = [
        *_head(run, summary, origin),
        *_repository(run, origin),
        *_packages(origin),
        *_files(run, summary, preset),
        *_checks(preset),
        *_commands(summary, origin, preset),
    ]
    return visible("\n".join(parts) + "\n")


def _head(run: RunDirectory, summary: Summary, origin: RunJson) -> Iterator[str]:
    reached = [f"{name} {100 * top1:.2f} %" for name in ("last", "best") if (top1 := getattr(summary, name).top1)]
    yield "#!/bin/sh"
    yield _comment(
        f"Trains again what the run {run.id} is: {summary.described}, {summary.method}, seed {summary.seed}."
    )
    yield _comment(
        f"It reached a top-1 of {', '.join(reached) or 'nothing yet'}, and was made on {origin.host or '?'} by"
    )
    yield _comment(f"    {origin.command or '?'}")
    yield _comment("Run this in an empty folder, with rbp on the path.")
    yield "set -eu\n"


def _repository(run: RunDirectory, origin: RunJson) -> Iterator[str]:
    if origin.git is None:
        return
    where = f"It was made in a repository at commit {origin.git.commit} ({origin.git.branch})"
    if not origin.git.changed:
        yield _comment(f"{where}. To have that code: git checkout {origin.git.commit}") + "\n"
        return
    git = read_json(run.run_json).get("git")
    diff = str(git.get("diff")) if isinstance(git, dict) else ""
    if "\n" not in diff:  # it was too long to be kept
        yield _comment(f"{where}, with uncommitted changes: {diff}") + "\n"
        return
    yield _comment(f"{where}, with uncommitted changes. To have that code:")
    yield _comment(f"    git checkout {origin.git.commit} && git apply {_DIFF}")
    yield _file(_DIFF, diff.encode(errors="backslashreplace")[: 4 * LARGEST_DIFF])


def _packages(origin: RunJson) -> Iterator[str]:
    known = {name: version for name, version in origin.packages.items() if name != "rbp-tui"}
    ours = origin.packages.get("rbp-tui", "?")
    yield _comment(f"It had Python {origin.python or '?'} and rbp-tui {ours}. To have the other packages:")
    yield _comment(f"    pip install -r {_REQUIREMENTS}")
    # A version as 2.9.1+cu126 is not in the usual index; pip takes it for 2.9.1.
    lines = [f"{name}=={version.partition('+')[0]}  # {version}" for name, version in known.items()]
    yield _file(_REQUIREMENTS, "".join(f"{one_line(line)}\n" for line in lines).encode())


def _files(run: RunDirectory, summary: Summary, preset: "Preset") -> Iterator[str]:
    yield _file(_preset_file(summary), resolved_toml(preset).encode())
    for name, content in _code(run):
        yield _file(name, content)


def _code(run: RunDirectory) -> Iterator[tuple[str, bytes]]:
    """The run's own code by file name."""
    try:
        with inside.folder(run.code, run.path) as folder:
            names = sorted(name for name in folder.names() if name.endswith(".py"))
        for name in names:
            yield name, read_untrusted(run.code / name, TEXT_LIMIT)
    except FileNotFoundError:
        return
    except OSError as error:
        raise RunError(f"cannot read {error.filename}: {error.strerror}") from error


def _checks(preset: "Preset") -> Iterator[str]:
    """Stop where something is missing that is not in the script: data, weights."""
    model = preset.model
    if preset.data.name in CATALOG:
        yield f"rbp data check {shlex.quote(preset.data.name)}"
    elif preset.data.args:
        yield _comment("What the arguments of its data set name has to be there; this script does not have it.")
    if model.pretrained:
        file = shlex.quote(model.pretrained)
        needs = shlex.quote(
            f"it starts from weights of SHA-256 {model.pretrained_sha256}: put them at {model.pretrained}"
        )
        yield f"test -f {file} || {{ echo {needs} >&2; exit {_MISSING}; }}"
    if preset.loss.distill:
        needs = shlex.quote(f"it has a teacher: copy {_TEACHER} from the folder of the run to here")
        yield f"test -f {_TEACHER} || {{ echo {needs} >&2; exit {_MISSING}; }}"


def _commands(summary: Summary, origin: RunJson, preset: "Preset") -> Iterator[str]:
    attempt = origin.last_attempt
    recorded = attempt.environment if attempt else {}
    # Of a run of somebody else's it may be any variable: only these are set.
    known = {name: str(recorded[name]) for name in TO_THE_LAST_BIT if name in recorded}
    if card := known.pop(_OF_THE_MACHINE, ""):
        yield _comment(f"It had {_OF_THE_MACHINE}={card}")
    if not known:
        yield _comment("The number of threads was not recorded; with another the last bits differ (OMP_NUM_THREADS).")
    for name, value in known.items():
        yield f"export {name}={shlex.quote(one_line(value))}"
    words = ["rbp", "train", f"./{_preset_file(summary)}"]
    if preset.loss.distill:
        words.append(f"loss.distill=./{_TEACHER}")
    if summary.extended_from:
        words.append(f"epochs={summary.extended_from}")
    if origin.resources.processes > 1:
        words += ["--nproc", str(origin.resources.processes)]
    if origin.resources.nodes > 1:
        yield _comment(
            f"It ran on {origin.resources.nodes} nodes: give the same command on each, see rbp train --help."
        )
    yield shlex.join(words)
    if summary.extended_from:
        yield _comment("It was trained longer than it was made for; exactly so if each length was completed.")
    for extension in origin.extensions:
        yield f"rbp resume last epochs={int(extension.epochs)}"
    yield "rbp runs show last"


def _preset_file(summary: Summary) -> str:
    """The file of the preset, by whose name a run is called."""
    return f"{summary.preset if ID.fullmatch(summary.preset) else 'preset'}.toml"


def _comment(text: str) -> str:
    return f"# {one_line(text, LONGEST_TEXT)}"


def _file(name: str, content: bytes) -> str:
    """Commands that write a file with exactly these contents; as text, unless a terminal would not show all of it."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        text = "\0"
    if visible(text) != text or not text.endswith("\n"):
        encoded = "\n".join(textwrap.wrap(base64.b64encode(content).decode(), 100))
        return f"base64 -d > {shlex.quote(name)} <<'END'\n{encoded}\nEND\n"
    end, lines = "END", set(text.splitlines())
    while end in lines:
        end += "_"
    return f"cat > {shlex.quote(name)} <<'{end}'\n{text}{end}\n"
