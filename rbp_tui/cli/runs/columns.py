"""The option `--columns`: settings of runs beside what a command shows of them."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rbp_engine.printable import one_line

if TYPE_CHECKING:
    from rbp_engine.run.store.store import RunRecord
    from rbp_tui.text.run_columns import Column


Columns = Annotated[
    str | None,
    typer.Option(
        "--columns",
        metavar="lr,…",
        help="Fields of presets as columns, by the names of queries: lr,optim.momentum.",
        show_default=False,
    ),
]


def named_columns(names: str | None, column_of: "Callable[[str], Column]") -> "list[Column]":
    """The columns named in an option, each once. Raises BadParameter for an unknown one."""
    words = [word.strip() for word in (names or "").split(",")]
    try:
        found = [column_of(word) for word in words if word]
    except ValueError as error:
        raise typer.BadParameter(one_line(str(error)), param_hint="--columns") from error
    return list({column.name: column for column in found}.values())


def named_settings(names: str | None) -> list[str]:
    """The settings named in an option, by dotted key. Raises BadParameter for what is no setting."""
    from rbp_engine.run.store.run_settings import dotted_key
    from rbp_tui.text.run_columns import setting_column

    found = [column.name for column in named_columns(names, setting_column)]
    if other := [name for name in found if dotted_key(name) is None]:
        raise typer.BadParameter(f"{other[0]} is no field of presets", param_hint="--columns")
    return found


def settings_plain(records: "Sequence[RunRecord]", wanted: "Sequence[Column]") -> dict[str, dict[str, Any]]:
    """For each run its settings by dotted key: those wanted, or else those in which the runs differ."""
    from rbp_engine.run.store.run_settings import dotted_key, settings_of
    from rbp_tui.text.run_columns import settings_worth_a_column

    first, others = settings_worth_a_column(records)
    keys = [key for column in wanted if (key := dotted_key(column.name))] or [*first, *others]
    return {record.run.id: {key: settings_of(record).get(key) for key in keys} for record in records}
