"""What runs use on the disk, in words: all of them, and the largest."""

from collections.abc import Mapping
from pathlib import Path

from rich.cells import set_cell_size
from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.store.store import RunRecord
from rbp_tui.dashboard.reading.machine_reader import MachineReading
from rbp_tui.dashboard.reading.run_sizes import RunSizes
from rbp_tui.text import format as fmt
from rbp_tui.text.run_columns import shortened
from rbp_tui.text.run_text import short_id

SIZE, NAME, ID = 9, 24, 4


def disk_lines(
    sizes: RunSizes | None, machine: MachineReading, records: Mapping[str, RunRecord], runs: Path, width: int, most: int
) -> list[Text]:
    """The total, and up to `most` of the largest runs, for a panel of that width."""
    if sizes is None:
        return [Text.assemble(("runs on disk  ", "bold"), ("adding up…", "dim"))]
    count = len(sizes.sizes)
    head = Text.assemble(
        ("runs on disk  ", "bold"), f"{fmt.size(sizes.total)} in {count} run{'' if count == 1 else 's'}"
    )
    if sizes.missing:
        head.append(f", {sizes.missing} more to add up…", "dim")
    if machine.disk_free is not None:
        head.append(f" · {fmt.size(machine.disk_free)} free", "dim")
    if sizes.trash:
        head.append(f" · {fmt.size(sizes.trash)} in the trash", "dim")
    head.append(f"  {one_line(str(runs))}", "dim")
    largest = sorted(sizes.sizes.items(), key=lambda item: -item[1])[:most]
    bar = max(0, min(40, width - NAME - ID - SIZE - 6))
    top = largest[0][1] if largest else 0
    lines = [head]
    for run_id, size in largest:
        record = records.get(run_id)
        called = one_line(record.summary.called) if record is not None and record.readable else run_id
        short = one_line(short_id(record.summary)) if record is not None else run_id[-ID:]
        line = Text.assemble(f"  {set_cell_size(shortened(called, NAME), NAME)} ")
        line.append(f"{set_cell_size(shortened(short, ID), ID)} ", "dim")
        lines.append(
            line.append(f"{fmt.size(size):>{SIZE}}  ").append("━" * round(bar * size / top if top else 0), "cyan")
        )
    return lines
