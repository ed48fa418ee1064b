"""A warning that what is about to be measured will be off."""

from rbp_tui.cli.output import say


def say_if_busy(consequence: str = "") -> bool:
    """Whether other programs would distort times; says so, and the `consequence`, on stderr."""
    from rbp_engine.bench.measure.load import QUIET, busy_share

    if (share := busy_share()) <= QUIET:
        return False
    also = f", {consequence}" if consequence else ""
    say("[yellow]other programs keep {} % of the cores busy: the times will be off{}[/]", f"{100 * share:.0f}", also)
    return True
