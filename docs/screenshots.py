"""Make the README's pictures again: `make screenshots`.

Trains real runs of the digits (a minute or two) into a temporary folder and takes pictures of the dashboard showing
them.
"""

import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).parent / "screens"
RBP = str(Path(sys.executable).with_name("rbp"))
SIZE = (120, 36)
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


async def take_pictures(runs: Path) -> None:
    """Go through the screens and write each as SVG."""
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

        while len(app.session.records) < len(RUNS) + 1:
            await asyncio.sleep(0.1)
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
        app.compare([record.run.id for record in app.session.records if record.verdict.status == "completed"])
        await picture("compare")
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
            asyncio.run(take_pictures(home / "runs"))
        finally:
            subprocess.run([RBP, "stop", "--now", "last"], check=False, capture_output=True)


if __name__ == "__main__":
    main()
