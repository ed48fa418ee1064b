"""Random mischief in the files of others: every command that reads them keeps what docs/security.md promises."""

import os
import random
import shutil
from pathlib import Path

import pytest
import torch  # noqa: F401  # so that no command takes the time of its import

from tests.fuzz import hostile_world
from tests.fuzz.hostile_world import World, broken_promises, build, commands, draw_case

CASES = int(os.environ.get("RBP_FUZZ_HOSTILE", "150"))
COMMANDS_A_CASE = 2


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> World:
    hostile_world.watch_signals()
    return build(tmp_path_factory.mktemp("hostile") / "world")


def search(pristine: World, folder: Path, seed: int, cases: int) -> list[str]:
    """The promises that are broken in so many cases, each with what was done to which file and by which command."""
    found = []
    for case in range(cases):
        draw = random.Random(seed * 1_000_003 + case)
        world, did = draw_case(pristine, folder / str(case), draw)
        for words in draw.sample(commands(world), COMMANDS_A_CASE):
            told = [word for word in words if word not in ("--runs-dir", str(world.runs))]
            found += [
                f"case {case} ({did}): rbp {' '.join(told)}: {broken}" for broken in broken_promises(world, words)
            ]
        shutil.rmtree(world.root)
        shutil.rmtree(world.outside)
    return found


def test_in_a_sound_world_every_command_keeps_every_promise(pristine: World, tmp_path: Path) -> None:
    world = hostile_world.copy(pristine, tmp_path / "sound")
    for words in commands(world):
        assert broken_promises(world, words) == [], words


def test_whatever_files_of_others_hold_every_promise_is_kept(pristine: World, tmp_path: Path) -> None:
    found = search(pristine, tmp_path, 1, CASES)
    assert not found, f"{len(found)} broken promises\n" + "\n".join(found[:40])
