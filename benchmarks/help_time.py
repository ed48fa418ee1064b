"""How much longer `rbp --help` takes than `python -c "import typer, rich"`: interleaved, medians. Budget: 0.15 s."""

import statistics
import subprocess
import sys
import time

ROUNDS = 15
COMMANDS = {
    "import typer, rich": [sys.executable, "-c", "import typer, rich"],
    "rbp --help": [sys.executable, "-c", "import sys; from rbp_tui.cli import main; sys.argv[1:] = ['--help']; main()"],
}

times: dict[str, list[float]] = {name: [] for name in COMMANDS}
for _ in range(ROUNDS):
    for name, command in COMMANDS.items():
        start = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        times[name].append(time.perf_counter() - start)

medians = {name: statistics.median(values) for name, values in times.items()}
for name, median in medians.items():
    print(f"{name:20} {median:.3f} s")
print(f"{'difference':20} {medians['rbp --help'] - medians['import typer, rich']:.3f} s")
