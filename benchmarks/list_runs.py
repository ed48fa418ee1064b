"""How much longer `rbp ls QUERY` takes for 2 000 runs than `rbp --help`: interleaved, medians. Budget: 0.5 s.

`first` is the time to the first line on stdout, `all` to the end of the command, `CPU` what the command has computed,
which is more reliable on a busy machine. Every command is a process of its own; the files are in the page cache. With
`--cold`, Linux is asked to forget them before each command (as root).
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from many_runs import make_runs

RUNS = 2_000
QUERIES = [
    "",
    "acc>0.9",
    "lr=0.05",
    "tag:group3",
    "note:slope",
    "host:here",
    "sweep:night",
    "size>1MiB",
    "slope 12",
    "lr=0.05 acc>0.9 note:compare",
]
RBP = [sys.executable, "-c", "import sys; from rbp_tui.cli import main; main()"]


def timed(words: list[str], *, cold: bool) -> tuple[float, float, float]:
    """Seconds to the first line, to the end, and of computing."""
    if cold:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    start = time.perf_counter()
    process = subprocess.Popen([*RBP, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    process.stdout.readline()
    first = time.perf_counter() - start
    process.stdout.read()
    _, _, used = os.wait4(process.pid, 0)
    return first, time.perf_counter() - start, used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--cold", action="store_true")
    parser.add_argument("--option", action="append", default=[], help="also given to rbp ls, as --option=-n20")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"RBP_RUNS": f"{folder}/runs", "RBP_CONFIG": f"{folder}/own", "XDG_CACHE_HOME": f"{folder}/cache"}
        make_runs(Path(folder) / "runs", asked.runs)
        commands = {"rbp --help": ["--help"]}
        commands |= {f"rbp ls '{query}'": ["ls", query, *asked.option] for query in QUERIES}
        times: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
        for _ in range(asked.rounds):
            for name, words in commands.items():
                times[name].append(timed(words, cold=asked.cold))
    medians = {name: [statistics.median(column) for column in zip(*times[name], strict=True)] for name in times}
    _, base, base_cpu = medians["rbp --help"]
    print(f"{'seconds':44} {'first':>7} {'all':>7} {'CPU':>7} {'more than --help: all':>22} {'CPU':>7}")
    for name, (first, whole, cpu) in medians.items():
        print(f"{name:44} {first:7.3f} {whole:7.3f} {cpu:7.3f} {whole - base:22.3f} {cpu - base_cpu:7.3f}")


main()
