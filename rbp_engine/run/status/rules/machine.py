"""Rules about the time and the memory that a run has taken."""

from collections.abc import Iterator

import numpy as np

from rbp_engine.run.status.curves import Curve
from rbp_engine.run.status.history import History
from rbp_engine.run.status.rules.rule import Alarm, of_network, percent
from rbp_engine.run.status.sustained import SUSTAINED

#: The share of a step that it waits for its data. With data in memory it is 1 to 5 %.
LONGEST_WAIT = 0.3
#: The share of the memory of a card that is in use at the peak: a larger batch does not fit, nor other processes.
MOST_MEMORY = 0.9
#: What a process waits for its data longer than the others, as a share of a step, and by how much a factor.
SKEW, FACTOR = 0.15, 1.5


def input_bound(history: History) -> Iterator[Alarm]:
    """Steps wait for their data."""
    steps, waits = history.curves.get("step_ms"), history.curves.get("data_ms")
    if steps is None or waits is None or len(steps) < SUSTAINED:
        return
    whole, waited = _settled(steps), _settled(waits)
    if waited >= LONGEST_WAIT * whole > 0.0:
        yield of_network(
            "input",
            waits,
            0,
            f"input-bound: data take {percent(waited / whole)} of a step, {waited:.0f} of {whole:.0f} ms",
            "images are read or augmented more slowly than they are learnt from",
            "raise data.workers (auto takes all cores), augment with data.augment_backend=batched, or copy the data to "
            "a faster disk",
        )


def memory(history: History) -> Iterator[Alarm]:
    """The peak of a process is close to the memory that there is."""
    attempt, peaks = history.attempt, _by_rank(history, "mem_peak")
    if attempt is None or not attempt.memory or not peaks:
        return
    rank, peak = max(((rank, np.nanmax(curve.value)) for rank, curve in peaks.items()), key=lambda found: found[1])
    if peak >= MOST_MEMORY * attempt.memory:
        at = int(np.nanargmax(peaks[rank].value))
        yield of_network(
            "memory",
            peaks[rank],
            at,
            f"memory: {percent(peak / attempt.memory)} of what there is at the peak"
            f"{f', in process {rank}' if rank else ''}",
            "the batch, the timesteps and the network fill it",
            "train.accumulate=2 halves what a step holds; a larger batch, network or T will not fit",
        )


def ranks(history: History) -> Iterator[Alarm]:
    """One process waits for its data longer than the others, and all wait for it."""
    waits = {rank: _settled(curve) for rank, curve in _by_rank(history, "rank_data_ms").items()}
    steps = history.curves.get("step_ms")
    if len(waits) < 2 or steps is None or len(steps) < SUSTAINED:
        return
    slowest = max(waits, key=lambda rank: waits[rank])
    others = float(np.median([wait for rank, wait in waits.items() if rank != slowest]))
    if waits[slowest] - others >= SKEW * _settled(steps) and waits[slowest] >= FACTOR * others:
        yield of_network(
            "ranks",
            steps,
            0,
            f"process {slowest} waits {waits[slowest]:.0f} ms a step for its data, the others {others:.0f}: in each "
            f"step of {_settled(steps):.0f} ms all wait for it",
            "another job on its cores, or a slower disk on its host",
            "give each process cores of its own, and as many data.workers as cores; rbp watch shows each process",
        )


def _settled(curve: Curve) -> float:
    """The mean over the second half: the first steps compile, and start processes that read."""
    half = curve.value[len(curve) // 2 :]
    return float(np.nanmean(half)) if np.isfinite(half).any() else 0.0


def _by_rank(history: History, name: str) -> dict[int, Curve]:
    """The curve of each process that has one."""
    curves = {process.rank: history.curves.get(f"{name}/{process.rank}" if process.rank else name)
              for process in history.processes}  # fmt: skip
    return {rank: curve for rank, curve in curves.items() if curve is not None}
