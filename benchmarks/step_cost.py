"""Time and memory of a training step of ResNet-18 against SpikingJelly's multi-step BPTT, and against two floors.

    python benchmarks/step_cost.py [--timesteps 4 8] [--rounds 5] [--cases rate_m:fp32:eager rate_s …]

Every case runs in a process of its own, turn by turn; figures are ratios of medians. Time: SpikingJelly's in the
default environment, ours as the launcher starts a worker. Memory: peak resident set over the process's base, with no
variable of the allocator set. The ratio of processor time is printed too, since other programs disturb it less.
"""

import argparse
import os

from rbp_engine.bench.interleave import Measured, measure
from rbp_engine.bench.step import Case

CORES = str(len(os.sched_getaffinity(0)))
PASSIVE = {"OMP_WAIT_POLICY": "PASSIVE"}
LAUNCHER = PASSIVE | {
    "OMP_NUM_THREADS": CORES,
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": str(1 << 40),
    "MALLOC_TOP_PAD_": str(64 << 20),
}
BASELINES = ("spikingjelly", "two_pass", "ann")
OURS = ("rate_m:fp32:eager", "rate_s:fp32:eager", "bptt:fp32:eager")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--timesteps", type=int, nargs="*", default=[4, 8])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cases", nargs="*", default=[*BASELINES, *OURS], help="METHOD[:PRECISION[:KERNEL]]")
    parser.add_argument("--network", default="resnet18")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument(
        "--busy", action="store_true", help="other programs run: let the threads of the baselines sleep, not spin"
    )
    chosen = parser.parse_args()
    for timesteps in chosen.timesteps:
        cases = [
            Case(*[name, timesteps, *settings], network=chosen.network, batch=chosen.batch)
            for name, *settings in (word.split(":") for word in chosen.cases)
        ]
        baseline = PASSIVE if chosen.busy else {}
        time = measure(cases, [LAUNCHER if case.ours else baseline for case in cases], rounds=chosen.rounds)
        memory = time if chosen.no_memory else peaks(cases)
        print(f"T = {timesteps}, {chosen.network}, B = {chosen.batch}, against {cases[0].name}")
        print(f"{'':28} {'time':>7} {'cpu':>7} {'memory':>7}   {'s':>7} {'cpu s':>7} {'MiB':>7}")
        for case, timed, sized in zip(cases, time, memory, strict=True):
            print(
                f"{case.name:28} {timed.seconds / time[0].seconds:7.3f} {timed.cpu_seconds / time[0].cpu_seconds:7.3f}"
                f" {sized.peak / memory[0].peak:7.3f}   {timed.seconds:7.3f} {timed.cpu_seconds:7.3f}"
                f" {sized.peak / 2**20:7.0f}",
                flush=True,
            )


def peaks(cases: list[Case]) -> list[Measured]:
    """Median of three processes for each case, one process at a time; each takes two steps."""
    rounds = [[measure([case], [PASSIVE], rounds=1)[0] for case in cases] for _ in range(3)]
    return [sorted(of_case, key=lambda measured: measured.peak)[1] for of_case in zip(*rounds, strict=True)]


if __name__ == "__main__":
    main()
