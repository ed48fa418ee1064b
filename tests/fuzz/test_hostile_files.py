"""Random mischief in the files of others: every command that reads them keeps what docs/security.md promises."""

import os
import random
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch  # noqa: F401  # so that no command takes the time of its import

from rbp_engine import printable
from rbp_engine.run import control
from rbp_engine.run.files import file_memo, inside, run_json
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.launch import multinode
from rbp_engine.run.status import processes
from tests.fuzz import hostile_world
from tests.fuzz.hostile_world import World, broken_promises, build, commands, copy, draw_case

CASES = int(os.environ.get("RBP_FUZZ_HOSTILE", "100"))
COMMANDS_A_CASE = 3


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    hostile_world.watch_acts()
    innocent = subprocess.Popen(["sleep", "infinity"])
    yield build(tmp_path_factory.mktemp("hostile") / "world", innocent.pid)
    innocent.kill()
    innocent.wait()


@pytest.fixture(autouse=True)
def stop_asks_for_a_moment_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "SIGNAL_AFTER_S", 0.1)


def search(pristine: World, folder: Path, seed: int, cases: int) -> list[str]:
    """The promises that are broken in so many cases, each with what was done to which file and by which command."""
    found = []
    for case in range(cases):
        draw = random.Random(seed * 1_000_003 + case)
        world, did = draw_case(pristine, folder / str(case), draw)
        for words in draw.sample(commands(world), COMMANDS_A_CASE):
            command = " ".join(word for word in words if word not in ("--runs-dir", str(world.runs)))
            found += [f"case {case} ({did}): rbp {command}: {broken}" for broken in broken_promises(world, words)]
        shutil.rmtree(world.root)
        shutil.rmtree(world.outside)
    return found


def test_in_a_sound_world_every_command_keeps_every_promise(pristine: World, tmp_path: Path) -> None:
    world = copy(pristine, tmp_path / "sound")
    for words in commands(world):
        assert broken_promises(world, words) == [], words


def test_whatever_files_of_others_hold_every_promise_is_kept(pristine: World, tmp_path: Path) -> None:
    found = search(pristine, tmp_path, 1, CASES)
    assert not found, f"{len(found)} broken promises\n" + "\n".join(found[:40])


# --- the control: planted faults are found, each by mischief that the sound engine withstands ----------------------


def text_is_not_filtered(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(printable, "_is_safe", lambda text: True)


def files_are_opened_as_they_come(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(file_memo, "read_untrusted", lambda path, limit: Path(path).read_bytes())
    patch.setattr(hostile_world, "WALL_S", 1.0)


def links_are_followed(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(control, "refuse_links", lambda run: None)
    patch.setattr(inside, "_open_folder", lambda name, above: os.open(name, os.O_RDONLY, dir_fd=above.descriptor))


def any_named_process_is_signalled(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(processes, "may_signal", lambda run, process: True)
    patch.setattr(multinode, "started_here", lambda run: [processes.psutil.Process(multinode.launchers(run)[0].pid)])


def values_are_not_checked(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(run_json, "fitting_fields", lambda kind, value: {name: value[name] for name in value})


def events_are_read_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(EventReader, "_next_lines", lambda self: self.path.read_bytes().split(b"\n"))


def lost(world: World) -> RunDirectory:
    return RunDirectory(world.runs / "lost")


def hostile_name(world: World) -> None:
    hostile_world.write_hostile_text(lost(world).summary_json, world, random.Random(0))


def pipe_in_the_place_of_a_summary(world: World) -> None:
    hostile_world.put_fifo(lost(world).summary_json, world, random.Random(0))


def control_folder_elsewhere(world: World) -> None:
    innocent_named(world)
    lost(world).control.rmdir()
    lost(world).control.symlink_to(world.outside)


def innocent_named(world: World) -> None:
    hostile_world.name_an_innocent_process(lost(world).run_json, world, random.Random(0))


def attempts_of_another_shape(world: World) -> None:
    lost(world).run_json.write_text('{"attempts": [{"attempt": 1, "t": "yesterday", "later": []}]}')


def enormous_events(world: World) -> None:
    hostile_world.make_enormous(lost(world).events(), world, random.Random(0))


@pytest.mark.parametrize(
    ("fault", "mischief", "words", "found"),
    [
        (text_is_not_filtered, hostile_name, ("runs", "show", "lost"), "raw"),
        (files_are_opened_as_they_come, pipe_in_the_place_of_a_summary, ("ls",), "waits for ever"),
        (links_are_followed, control_folder_elsewhere, ("stop", "lost"), "changes a file outside"),
        (any_named_process_is_signalled, innocent_named, ("stop", "lost"), "signals a process"),
        (values_are_not_checked, attempts_of_another_shape, ("runs", "show", "lost"), "Error"),
        (events_are_read_whole, enormous_events, ("watch", "lost"), "it takes"),
    ],
)
def test_a_planted_fault_is_found(
    pristine: World,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[pytest.MonkeyPatch], None],
    mischief: Callable[[World], None],
    words: tuple[str, ...],
    found: str,
) -> None:
    monkeypatch.setattr(hostile_world, "MEMORY_BYTES", 2**26)
    withstood, broken = [], []
    for results, plant in ((withstood, lambda patch: None), (broken, fault)):
        world = copy(pristine, tmp_path / plant.__name__)  # another one: what has been read is remembered
        mischief(world)
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            results += broken_promises(world, (*words, "--runs-dir", str(world.runs)))
    assert not withstood and any(found in one for one in broken), (withstood, broken)
