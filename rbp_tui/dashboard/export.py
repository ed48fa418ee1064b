"""Export of what has focus: a table as CSV and JSON, a chart, too."""

import csv
import io
import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.text import Text
from textual.widget import Widget
from textual.widgets import DataTable

from rbp_engine.errors import UserError
from rbp_engine.printable import for_csv, visible
from rbp_engine.run.files.layout import write_atomic
from rbp_tui.charts.series import Floats, Series
from rbp_tui.dashboard.charts.curve_chart import CurveChart
from rbp_tui.dashboard.charts.layer_table import LayerTable
from rbp_tui.dashboard.runs.table import RunTable

FOLDER = "rbp-export"


@dataclass(frozen=True)
class Export:
    """Texts by the names of their files."""

    name: str
    files: Mapping[str, str]


def export_of(widget: Widget | None, names: Mapping[str, str]) -> Export | None:
    """What can be exported of the focused widget: a chart or a table; None for anything else.

    `names` has the names of series by key, where their labels are only signs.
    """
    if isinstance(widget, CurveChart):
        return _chart(widget, [replace(one, label=names.get(one.key, one.label)) for one in widget.series])
    if isinstance(widget, RunTable):
        return _rows("table", *widget.texts())
    if isinstance(widget, DataTable):
        return _table(widget)
    if isinstance(widget, LayerTable):
        return _layers(widget)
    return None


def write(export: Export, name: str, folder: Path, now: float | None = None) -> tuple[Path, list[str]]:
    """Write the files into a new folder below `folder/rbp-export`; returns it and their names.

    Raises UserError where it cannot be written.
    """
    stamp = time.strftime("%Y%m%d-%H%M%S", time.localtime(now))
    place = folder / FOLDER / f"{name}-{export.name}-at-{stamp}"
    try:
        place.mkdir(parents=True, exist_ok=True)
        for file, text in export.files.items():
            write_atomic(place / file, text)
    except OSError as error:
        raise UserError(f"cannot export into {place}: {error.strerror}") from error
    return place, [*export.files]


def _chart(chart: CurveChart, series: Sequence[Series]) -> Export:
    """One row of the CSV for each point; the JSON has the axes of the chart, and its colours on paper, too."""
    columns = ["series", chart.x_axis, chart.title, "low", "high"]
    rows = [(one.label, *point) for one in series for point in _points(one)]
    document = {
        "title": chart.title,
        "x": chart.x_axis,
        "x_log": chart.x_log,
        "y_log": chart.y_log,
        "series": [_series(one, chart.colours.colour(one.key, dark=False)) for one in series],
    }
    files = {"chart.csv": csv_text(columns, rows), "chart.json": json.dumps(document, indent=1)}
    return Export(_slug(chart.title), files)


def _points(series: Series) -> list[tuple[object, ...]]:
    edges = series.band or (np.full(len(series.x), np.nan),) * 2
    columns = [_known(values) for values in (series.x, series.y, *edges)]
    return [point for point in zip(*columns, strict=True) if point[0] is not None and point[1] is not None]


def _series(series: Series, colour: str) -> dict[str, object]:
    band = dict(zip(("low", "high"), map(_known, series.band or ()), strict=False))
    return {"label": series.label, "colour": colour, "x": _known(series.x), "y": _known(series.y), **band}


def _known(values: Floats) -> list[float | None]:
    """The values, with None for what is no number: JSON has no NaN."""
    return [value if known else None for value, known in zip(values.tolist(), np.isfinite(values), strict=True)]


def _table(table: "DataTable[object]") -> Export:
    """The table as it is shown; a column without a heading has the name that the program gave it."""
    headings = [
        str(column.label).strip(" ↑↓") or key.value or str(number)
        for number, (key, column) in enumerate(table.columns.items())
    ]
    rows = [[_plain(cell) for cell in table.get_row(row.key)] for row in table.ordered_rows]
    return _rows("table", headings, rows)


def _layers(table: LayerTable) -> Export:
    """All columns, also those for which there is no room."""
    return _rows(_slug(table.rows.title), *table.rows.table())


def _rows(name: str, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> Export:
    records = [dict(zip(headings, row, strict=True)) for row in rows]
    return Export(name, {"table.csv": csv_text(headings, rows), "table.json": json.dumps(records, indent=1)})


def _plain(cell: object) -> str:
    """The text of a cell: of Rich, of our own, or a string."""
    if isinstance(cell, Text):
        return cell.plain.strip()
    return str(getattr(cell, "text", cell)).strip()


def csv_text(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """A table for other programs; no text in it is a formula to a spreadsheet, or a control sequence to a terminal."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([for_csv(column) for column in columns])
    writer.writerows(["" if value is None else for_csv(value) for value in row] for row in rows)
    return visible(out.getvalue())


def _slug(title: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-") or "chart"
