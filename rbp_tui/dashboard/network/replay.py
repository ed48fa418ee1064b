"""Going through the samples of a run: which comes next, and where one is."""

import numpy as np
from rich.text import Text

from rbp_engine.run.status.samples import Floats
from rbp_tui.dashboard.reading.reader import Sight
from rbp_tui.text import format as fmt

SHORTEST_BAR, LONGEST_BAR = 6, 60


def next_step(steps: Floats, step: float | None, by: int) -> float:
    """The sampled step `by` samples after a step, or before; None is the newest. It ends at the last and the first."""
    at = len(steps) - 1 if step is None else int(np.abs(steps - step).argmin())
    return float(steps[max(0, min(len(steps) - 1, at + by))])


def replay_text(sight: Sight, steps: Floats, step: float, steps_per_epoch: float, width: int) -> Text:
    """The moment that is looked at, on a bar over the training so far."""
    last = max(1.0, float(steps[-1]) if len(steps) else step, step)
    epoch = f"epoch {step / steps_per_epoch:.2f} of {sight.summary.epochs}" if steps_per_epoch > 0 else ""
    number = f"sample {int(np.abs(steps - step).argmin()) + 1} of {len(steps)}" if len(steps) else ""
    left = Text.assemble(" ", ("● at", "bold magenta"), f" {epoch} ")
    right = Text("   ".join(part for part in (f" step {fmt.thousands(step)}", number) if part))
    length = max(SHORTEST_BAR, min(LONGEST_BAR, width - left.cell_len - right.cell_len - 1))
    at = min(length - 1, int(length * step / last))
    return Text.assemble(left, ("━" * at, "magenta"), ("●", "bold magenta"), ("━" * (length - 1 - at), "dim"), right)
