"""Time and memory of a training step, of two checkouts in turns.

    python benchmarks/step_times.py OLD NEW [--methods rate_m,bptt] [--kernels eager,compiled] [--timesteps 4]

ResNet-18 on random images of 32×32, without the optimizer. Each row has a process for each checkout, which take steps
in turns; printed are the medians of the rounds, the ratio of new to old, and the memory at its peak above that before
the first step. Both run with this Python and its packages.
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path


def take_steps(method: str, kernel: str, timesteps: int, batch: int) -> None:
    """Take a step for every line on stdin, and print how long it took, in seconds; at the end the memory in bytes."""
    import torch

    from rbp_engine.methods import create_method
    from rbp_engine.models import create_model

    torch.manual_seed(0)
    model = create_model("resnet18", num_classes=10, in_channels=3, kernel=kernel).to(memory_format=torch.channels_last)
    images = torch.rand(batch, 3, 32, 32).contiguous(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    taken = create_method(method, timesteps)
    if kernel == "compiled":  # compiling takes memory, too
        taken.step(model, images[:2], labels[:2])
    before = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    print("ready", flush=True)
    for _ in sys.stdin:
        model.zero_grad(set_to_none=True)
        began = time.perf_counter()
        taken.step(model, images, labels)
        print(time.perf_counter() - began, flush=True)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before, flush=True)


def compare(checkouts: list[Path], method: str, kernel: str, chosen: argparse.Namespace) -> str:
    command = [sys.executable, __file__, "--worker", method, kernel, str(chosen.timesteps), str(chosen.batch)]
    workers = [
        subprocess.Popen(
            command, env=os.environ | {"PYTHONPATH": str(checkout)}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )
        for checkout in checkouts
    ]  # fmt: skip
    times: list[list[float]] = [[] for _ in workers]
    for worker in workers:
        worker.stdout.readline()
    for _ in range(1 + chosen.rounds):
        for worker, taken in zip(workers, times, strict=True):
            worker.stdin.write("\n")
            worker.stdin.flush()
            taken.append(float(worker.stdout.readline()))
    for worker in workers:
        worker.stdin.close()
    memory = [int(worker.stdout.readline()) / 2**20 for worker in workers]
    for worker in workers:
        worker.wait()
    old, new = (statistics.median(taken[1:]) for taken in times)  # the first step touches new memory
    return (
        f"{method:7} {kernel:9} {old * 1e3:6.0f} → {new * 1e3:6.0f} ms ({new / old:.2f})   "
        f"{memory[0]:5.0f} → {memory[1]:5.0f} MiB ({memory[1] / memory[0]:.2f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("checkouts", nargs=2, type=lambda path: Path(path).resolve(), metavar="CHECKOUT")
    parser.add_argument("--methods", default="rate_m,rate_s,bptt,bptt_s,sltt,ottt")
    parser.add_argument("--kernels", default="eager,compiled")
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    for method in chosen.methods.split(","):
        for kernel in chosen.kernels.split(","):
            print(compare(chosen.checkouts, method, kernel, chosen), flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        method, kernel, timesteps, batch = sys.argv[2:]
        take_steps(method, kernel, int(timesteps), int(batch))
    else:
        main()
