"""The state that the dashboard keeps per user between sessions. A broken or stale file never prevents the start."""

import contextlib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from rbp_engine.codec import convert_verbatim
from rbp_engine.run.files.layout import read_json, write_json


@dataclass
class ViewState:
    """`theme` is empty until one is chosen. `sort` and `grouped` are of the Runs screen, whose filter is not kept: it
    would hide what has come since. `loss_log` to `top1_smoothing` are of the charts of the Monitor, `compared` to
    `compared_smoothing` of the Compare screen; `baseline` is the pinned run, `network_tab` the open tab of the Network
    screen.
    """

    theme: str = ""
    sort: str = "-created"
    grouped: bool = False
    x_axis: str = "epoch"
    loss_log: bool = False
    loss_smoothing: float = 0.0
    top1_smoothing: float = 0.0
    compared: list[str] = field(default_factory=list)
    compared_curve: str = ""
    compared_over: str = ""
    compared_smoothing: float = 0.0
    baseline: str = ""
    network_tab: str = ""


def state_file() -> Path:
    import platformdirs

    return Path(platformdirs.user_state_dir("rbp")) / "dashboard.json"


def load_state() -> ViewState:
    """The saved state; the default where a value is missing, and where one has a wrong type all of it."""
    try:
        return convert_verbatim(ViewState, read_json(state_file()))
    except ValueError:
        return ViewState()


def save_state(state: ViewState) -> None:
    """Save the state; failures (a full disk, no home) are ignored, since only the view state is lost."""
    with contextlib.suppress(OSError):
        state_file().parent.mkdir(parents=True, exist_ok=True)
        write_json(state_file(), asdict(state))
