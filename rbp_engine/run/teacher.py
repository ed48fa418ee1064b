"""The teacher of a run that distills: which file of weights it is, and the run's own copy of it. Without torch.

A run copies its teacher's weights, and the code of a teacher whose network is its author's own, so that a resume needs
neither, and nothing changes when the teacher is trained further or removed. The hash of both is part of the experiment.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from rbp_engine.preset import LoadedPreset, parse_resolved
from rbp_engine.preset.load import Teacher
from rbp_engine.preset.own_code import OwnCode, names_of_code, own_file, problem_together, read_own_code
from rbp_engine.preset.pretrained import FILE, TEACHER, digest_of, is_path_of_weights, weights_file
from rbp_engine.printable import one_line
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.weights_header import read_header
from rbp_engine.run.store.store import find_run
from rbp_engine.settings.problems import PresetError
from rbp_engine.untrusted_files import described, open_untrusted, parse_json


def with_teacher(loaded: LoadedPreset, runs: Path, original: RunDirectory | None = None) -> LoadedPreset:
    """The preset with the teacher that it names, if it names one, in its experiment and among its code.

    A name is that of a run in `runs`, whose best weights are taken. What has a slash, or the ending of a file of
    weights, is a path to a run, a checkpoint or a file of weights, relative to the preset that says it, or on the
    command line to the working directory. `original` is a run that is repeated, with its own copy. Raises RunError if
    there is none to use.
    """
    named = loaded.preset.loss.distill
    if not named or loaded.teacher is not None:
        return loaded
    source = loaded.sources.get(TEACHER, "")
    given = source == "override"
    if original is None or given:
        folder = Path() if given else Path(source.rpartition(":")[0]).parent
        file, run = _find(named, folder, runs)
    else:
        file, run = original.teacher, original
    try:
        digest = digest_of(file)
        own = _own_code(file, run)
    except OSError as error:
        raise _unusable(named, described(error)) from error
    except (KeyError, TypeError, ValueError, PresetError) as error:
        message = f"{file} is damaged, or does not say which network it is of. Name a run, or a copy of its {FILE}"
        raise _unusable(named, message) from error
    if clash := problem_together(loaded.own_code | own):
        raise _unusable(named, f"its code and the preset's cannot be in one folder: {clash[1]}")
    contents = " ".join([digest, *(one.digest for one in own.values())])
    teacher = Teacher(file, digest, run.path if run is not None and own else None)
    return replace(loaded.with_contents(TEACHER, contents, own), teacher=teacher)


def copy_teacher(teacher: Teacher, run: RunDirectory) -> None:
    """Copy the weights into a new run. Raises OSError, and RunError if they have changed since they were hashed."""
    with open_untrusted(teacher.file) as source, run.teacher.open("xb") as target:
        shutil.copyfileobj(source, target)
        target.flush()
        os.fsync(target.fileno())
    if digest_of(run.teacher) != teacher.digest:
        raise RunError(f"the teacher's weights, {teacher.file}, have changed just now: start again")


def _find(named: str, folder: Path, runs: Path) -> tuple[Path, RunDirectory | None]:
    """The file of weights, and its run if it is in one."""
    if is_path_of_weights(named):
        file = weights_file(folder / os.path.expanduser(named))  # noqa: PTH111  # pathlib raises for an unknown ~user
        run = RunDirectory(file.absolute().parent.parent.parent)
    else:
        run = find_run(runs, named)
        file = weights_file(run.path)
    if not run.run_json.is_file():
        return file, None
    if not file.is_file():
        missing = f"{run.id} has no {file.parent.name} weights"
        raise _unusable(named, f"{missing}: it has saved none yet, or they were pruned")
    return file, run


def _own_code(file: Path, run: RunDirectory | None) -> dict[str, OwnCode]:
    """The code of a teacher's network and neurons that is its author's own, by field."""
    header = read_header(file)
    if header is None:
        raise ValueError("it was saved by something else")
    preset = parse_resolved(parse_json(header.encode())["preset"], file)
    found = {}
    for (section, field), name in names_of_code(preset).items():
        if section in ("model", "neuron") and own_file(name) is not None:
            if run is None:
                message = f"it needs {one_line(name)}, whose code is kept in the run: name the run"
                raise FileNotFoundError(0, message, str(file))
            found[f"{TEACHER}: {section}.{field}"] = read_own_code(name, run.code, copied=True)
    return found


def _unusable(named: str, why: str) -> RunError:
    return RunError(f"{TEACHER} = {one_line(named)} cannot be the teacher: {why}")
