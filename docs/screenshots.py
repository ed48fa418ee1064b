"""Make the README's pictures again: `make screenshots`.

Compare shows runs of docs/results.md. For the other screens real runs of the digits are trained, in a minute or two,
into a temporary folder.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

PICTURES = Path(__file__).parent / "screens"
RBP = str(Path(sys.executable).with_name("rbp"))
SIZE = (120, 36)
RESULTS = Path(__file__).parent / "results" / "runs"
# Three seeds of CIFAR-10 by rate_M with BPTT's step size, and by BPTT.
COMPARED = ("results-cifar10-convnet-rate_m-*", "results-cifar10-convnet-bptt-*")
RUNS = (
    ["method=rate_m", "seed=1"],
    ["method=rate_m", "seed=2"],
    ["method=bptt", "seed=1"],
    ["method=bptt", "seed=2"],
    ["method=rate_s", "seed=1", "optim.lr=1e9"],  # diverges: a run that failed
)
LIVE = ["method=rate_s", "seed=3", "epochs=200"]


def train(*words: str) -> None:
    """Train a run of the digits to its end; one of them is expected to fail."""
    subprocess.run([RBP, "train", "digits", *words], check=False, capture_output=True)


@asynccontextmanager
async def dashboard(runs: Path, count: int) -> AsyncIterator[tuple[Any, Any, Callable[[str], Awaitable[None]]]]:
    """The dashboard once it has read this many runs, its pilot, and what writes a screen as SVG."""
    from rbp_tui.dashboard.app import Dashboard

    app = Dashboard(runs)
    async with app.run_test(size=SIZE) as pilot:

        async def picture(name: str) -> None:
            await asyncio.sleep(2)  # until the data that threads read is on screen
            await pilot.pause()
            app.clear_notifications()
            await pilot.pause()
            app.save_screenshot(f"{name}.svg", str(PICTURES))
            file = PICTURES / f"{name}.svg"
            file.write_text(file.read_text().replace(str(runs), "~/runs"))

        while len(app.session.records) < count:
            await asyncio.sleep(0.1)
        yield app, pilot, picture


async def take_pictures(runs: Path, results: Path) -> None:
    """Write the screens as SVG: those of `results`, and those of runs of the digits, one of them live."""
    async with dashboard(results, len(list(results.iterdir()))) as (app, _, picture):
        rate_m, bptt = ([path.name for path in results.glob(pattern)] for pattern in COMPARED)
        equal = [one for one in rate_m if 'loss_scale = "1"' in (results / one / "preset.toml").read_text()]
        app.compare([*bptt, *equal])
        await picture("compare")
    async with dashboard(runs, len(RUNS) + 1) as (app, pilot, picture):
        live = next(record.run.id for record in app.session.records if record.verdict.live)
        await pilot.press("1")
        await picture("presets")
        await pilot.press("2")
        await picture("runs")
        app.open_run(live)
        await asyncio.sleep(8)  # until there are some epochs to see
        await picture("monitor")
        await pilot.press("6")
        await picture("network")
        await pilot.press("5")
        await picture("system")


def main() -> None:
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        os.environ |= {
            "RBP_CONFIG": str(home / "config"),
            "XDG_STATE_HOME": str(home / "state"),
            "RBP_RUNS": str(home / "runs"),
            "COLORTERM": "truecolor",  # for rbp's own theme, wherever this runs
        }
        for words in RUNS:
            train(*words)
        train(*LIVE, "--detach")
        shutil.rmtree(PICTURES, ignore_errors=True)
        PICTURES.mkdir()
        try:
            asyncio.run(take_pictures(home / "runs", Path(shutil.copytree(RESULTS, home / "results"))))
        finally:
            subprocess.run([RBP, "stop", "--now", "last"], check=False, capture_output=True)


if __name__ == "__main__":
    main()
