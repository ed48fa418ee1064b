"""Which commands `rbp --host` does."""

import typer

from rbp_tui.cli import app
from rbp_tui.cli.command_group import _paths
from rbp_tui.cli.remote import FOLLOWING, PRINTING, STARTING

#: What needs an editor, a terminal or files of this machine, or measures and trains for long.
REFUSED = {
    "bench", "try", "eval", "runs rerun", "presets new", "presets edit", "data add", "data fetch", "data convert",
}  # fmt: skip
REFUSED_GROUPS, DONE_GROUPS = {"export", "figure"}, {"queue"}


def test_every_command_is_done_by_another_host_or_refused_on_purpose() -> None:
    paths = {path.removeprefix("rbp ") for path in _paths(typer.main.get_command(app), "rbp")}
    groups = {path.rpartition(" ")[0] for path in paths} | REFUSED_GROUPS | DONE_GROUPS
    single = {path for path in paths if path not in groups and path.split()[0] not in REFUSED_GROUPS | DONE_GROUPS}
    done = PRINTING | FOLLOWING | STARTING
    assert single - done == REFUSED
    assert done <= paths
