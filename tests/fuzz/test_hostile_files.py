"""Random mischief in the files of others: every command that reads them keeps what docs/security.md promises."""

import json
import os
import random
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import optuna  # noqa: F401  # as torch
import pytest
import torch  # noqa: F401  # so that no command takes the time of its import

from rbp_engine import printable
from rbp_engine.plan.start import run_id_of
from rbp_engine.plan.trials import TrialReader
from rbp_engine.run import control
from rbp_engine.run.errors import RunError
from rbp_engine.run.files import annotations, events, file_memo, inside, layout
from rbp_engine.run.files.event_reader import EventReader
from rbp_engine.run.launch import multinode
from rbp_engine.run.queue import dispatcher
from rbp_engine.run.status import processes
from tests.fuzz import hostile_world
from tests.fuzz.hostile_world import (
    add_a_comma,
    broken_promises,
    build,
    commands,
    copy,
    draw_case,
    fail_with_a_huge_text,
    make_it_a_colleagues,
    name_an_innocent_process,
    number_an_attempt_by_400_digits,
    pack_an_endless_directory,
    put_a_list_for_a_name,
    put_importable_folders,
)

CASES = int(os.environ.get("RBP_FUZZ_HOSTILE", "24"))
COMMANDS_A_CASE = 3


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    hostile_world.watch_acts()
    innocent = subprocess.Popen(["sleep", "infinity"])
    yield build(tmp_path_factory.mktemp("hostile") / "world", innocent.pid)
    innocent.kill()
    innocent.wait()


@pytest.fixture(autouse=True)
def stop_asks_for_a_moment_only(monkeypatch):
    monkeypatch.setattr(control, "SIGNAL_AFTER_S", 0.1)


def search(pristine, folder, seed, cases):
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
        shutil.rmtree(world.own, ignore_errors=True)
    return found


def test_in_a_sound_world_every_command_keeps_every_promise(pristine, tmp_path):
    world = copy(pristine, tmp_path / "sound")
    for words in commands(world):
        assert broken_promises(world, words) == [], words


def test_whatever_files_of_others_hold_every_promise_is_kept(pristine, tmp_path):
    found = search(pristine, tmp_path, 1, CASES)
    assert not found, f"{len(found)} broken promises\n" + "\n".join(found[:40])


# --- the control: planted faults are found, each by mischief that the sound engine withstands ----------------------


def text_is_not_filtered(patch):
    patch.setattr(printable, "_is_safe", lambda text: True)


def files_are_opened_as_they_come(patch):
    patch.setattr(file_memo, "read_untrusted", lambda path, limit: Path(path).read_bytes())
    patch.setattr(hostile_world, "WALL_S", 1.0)


def links_are_followed(patch):
    patch.setattr(control, "refuse_links", lambda run: None)
    patch.setattr(inside, "_open_folder", lambda name, above: os.open(name, os.O_RDONLY, dir_fd=above.descriptor))


def any_named_process_is_signalled(patch):
    patch.setattr(processes, "may_signal", lambda run, process: True)
    patch.setattr(multinode, "started_here", lambda run: [processes.psutil.Process(multinode.launchers(run)[0].pid)])


def events_are_read_whole(patch):
    patch.setattr(EventReader, "_next_lines", lambda self: self.path.read_bytes().split(b"\n"))


def events_are_not_checked(patch):
    def unchecked(kind, content):
        found = json.loads(content)
        return kind(**{field.name: found[field.name] for field in fields(kind) if field.name in found})

    patch.setattr(events, "decode", unchecked)


def texts_of_failures_are_not_cut(patch):
    patch.setattr(dispatcher, "given", lambda text: text)


def a_damaged_trial_stops_the_search(patch):
    sound = TrialReader.read

    def read(self):
        found = sound(self)
        for problem in self.problems.values():
            raise RunError(problem)
        return found

    patch.setattr(TrialReader, "read", read)


def unreadable_is_empty(patch):
    patch.setattr(annotations, "load_json", layout.read_json)


def lost(world):
    return world.run("lost")


def drawn(mischief):
    """Mischief that is the same wherever it is drawn."""

    def apply(world):
        mischief(world.root, world, random.Random(0))

    return apply


def damaged_trial(world):
    world.search.run_of(2).run_json.write_text("{")


def link_in_the_place_of_a_run(world):
    world.run(run_id_of(world.sweep.points[2])).path.symlink_to("nowhere")


def hostile_name(world):
    hostile_world.write_hostile_text(lost(world).summary_json, world, random.Random(0))


def pipe_in_the_place_of_a_summary(world):
    hostile_world.put_fifo(lost(world).summary_json, world, random.Random(0))


def control_folder_elsewhere(world):
    name_an_innocent_process(lost(world).run_json, world, random.Random(0))
    lost(world).control.rmdir()
    lost(world).control.symlink_to(world.outside)


def attempts_of_another_shape(world):
    lost(world).attempt(1).write_text('{"attempt": 1, "t": "yesterday"}')


def enormous_events(world):
    hostile_world.make_enormous(lost(world).events(), world, random.Random(0))


SHOW, LAYERS, STOP = ("show", "lost"), ("show", "lost", "--layers"), ("stop", "lost")
SEARCH, SWEEP, HOOK = ("the search goes on",), ("the sweep goes on",), ("the hook runs",)
UNPACK = ("runs", "unpack", "packed.zip", "--as", "new")
# Mischief, a command that meets it, and for one of each promise a fault that breaks it, and what is found then.
WITHSTOOD = [
    (hostile_name, SHOW, text_is_not_filtered, "raw"),
    (pipe_in_the_place_of_a_summary, ("ls",), files_are_opened_as_they_come, "waits for ever"),
    (control_folder_elsewhere, STOP, links_are_followed, "changes a file outside"),
    (drawn(name_an_innocent_process), STOP, any_named_process_is_signalled, "signals a process"),
    (attempts_of_another_shape, SHOW, None, ""),
    (enormous_events, ("watch", "lost"), events_are_read_whole, "it takes"),
    (drawn(put_a_list_for_a_name), LAYERS, events_are_not_checked, "Error"),
    (drawn(number_an_attempt_by_400_digits), LAYERS, None, ""),
    (drawn(put_importable_folders), HOOK, None, ""),
    (drawn(fail_with_a_huge_text), HOOK, texts_of_failures_are_not_cut, "no hook runs"),
    (damaged_trial, SEARCH, a_damaged_trial_stops_the_search, "does not go on"),
    (drawn(make_it_a_colleagues), SWEEP, None, ""),
    (link_in_the_place_of_a_run, SWEEP, None, ""),
    (drawn(pack_an_endless_directory), UNPACK, None, ""),
    (drawn(add_a_comma), ("runs", "tag", "one", "+a"), unreadable_is_empty, "writes over"),
]


@pytest.mark.parametrize(("mischief", "words", "fault", "found"), WITHSTOOD)
def test_mischief_is_withstood_and_a_planted_fault_is_found(
    pristine, tmp_path, monkeypatch, mischief, words, fault, found
):
    monkeypatch.setattr(hostile_world, "MEMORY_BYTES", 2**26)

    def broken_by(plant, name):
        world = copy(pristine, tmp_path / name)  # another one: what has been read is remembered
        mischief(world)
        with pytest.MonkeyPatch.context() as patch:
            plant(patch)
            return broken_promises(world, (*words, "--runs-dir", str(world.runs)))

    assert broken_by(lambda patch: None, "sound") == []
    assert fault is None or any(found in one for one in broken_by(fault, "planted"))
