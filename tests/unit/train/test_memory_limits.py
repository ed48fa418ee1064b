"""How much memory a process may use."""

import pytest
import torch

from rbp_engine.train.memory import free_in_groups, limit


@pytest.fixture
def groups(tmp_path):
    """A job limited to 1000 bytes, 600 of them in use, inside a session without a limit inside a node of 5000 bytes."""
    for place, most, current, cached in (("", "5000", "3000", "500"), ("/session", "max", "700", "300"),
                                         ("/session/job", "1000", "600", "200")):  # fmt: skip
        folder = tmp_path / f"groups{place}"
        folder.mkdir()
        (folder / "memory.max").write_text(f"{most}\n")
        (folder / "memory.current").write_text(f"{current}\n")
        (folder / "memory.stat").write_text(f"anon 1\ninactive_file {cached}\n")
    return tmp_path / "groups"


@pytest.mark.parametrize(
    ("text", "free"),
    [
        ("12:cpu:/elsewhere\n0::/session/job\n", [1000 - (600 - 200), 5000 - (3000 - 500)]),
        ("0::/\n", [5000 - (3000 - 500)]),  # in a container the process's group is the root
        ("", []),
        ("4:memory:/session\n", []),
    ],
)
def test_the_limits_of_all_groups_around_a_process_count_and_cached_files_are_free(groups, text, free):
    own = groups.parent / "own"
    own.write_text(text)
    assert free_in_groups(own, groups) == free
    assert free_in_groups(own.with_name("nowhere"), groups) == []


def test_this_machine_has_a_limit_above_zero():
    assert limit(torch.device("cpu")) > 2**20
