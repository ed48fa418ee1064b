"""Which devices the queue can give to runs, and who has the others."""

import textwrap
from collections.abc import Sequence

from rich.text import Text

from rbp_engine.printable import one_line
from rbp_engine.run.queue.positions import DeviceUse
from rbp_tui.dashboard.system.tracks import LABEL
from rbp_tui.text.run_text import device_holders, free_devices

MOST_LINES = 4


def queue_lines(uses: Sequence[DeviceUse] | None, width: int) -> list[Text]:
    """How many devices are free, and below it who has the others, as many on a line as fit.

    There are no lines before somebody has looked.
    """
    if uses is None:
        return []
    lines = [Text.assemble((f"{'queue':<{LABEL}}", "dim"), free_devices(uses))]
    # A no-break space keeps a holder together with what it has.
    holders = ", ".join(one_line(holder).replace(" ", "\xa0") for holder in device_holders(uses))
    wrapped = textwrap.wrap(holders, max(20, width - LABEL), max_lines=MOST_LINES, placeholder=" …")
    return lines + [Text(" " * LABEL + line.replace("\xa0", " ")) for line in wrapped]
