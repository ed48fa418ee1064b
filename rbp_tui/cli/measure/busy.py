"""A warning that what is about to be measured will be off."""

from rbp_tui.cli.output import say


def say_if_busy(consequence: str = "") -> float:
    """The fraction of the cores that other programs use; if they distort times, warns, with the `consequence`."""
    from rbp_engine.bench.measure.load import QUIET, busy_share

    if (share := busy_share()) > QUIET:
        also = f", {consequence}" if consequence else ""
        percent = f"{100 * share:.0f}"
        say("[yellow]other programs keep {} % of the cores busy: the times will be off{}[/]", percent, also)
    return share
