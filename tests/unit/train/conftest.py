"""A run, two connected processes, and what a disk is asked to write in which order."""

import multiprocessing
import os
import pickle
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.summary import Summary
from rbp_engine.train.ranks.distributed import ManyRanks, Ranks
from tests.run_files import write_identity

PATIENCE_S = 120


class TwoRanks:
    """Runs a function in two connected processes, which are forked so that they need not import everything again."""

    def __call__(self, work: Callable[[Ranks], Any]) -> list[Any]:
        """The results of `work` on each rank, in order; it gets its `Ranks`."""
        context = multiprocessing.get_context("fork")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        pipes = [context.Pipe(duplex=False) for _ in range(2)]
        processes = [
            context.Process(target=self._rank, args=(rank, port, work, pipe[1]), daemon=True)
            for rank, pipe in enumerate(pipes)
        ]
        for process in processes:
            process.start()
        for _, sender in pipes:
            sender.close()
        try:
            results = []
            for receiver, _ in pipes:
                assert receiver.poll(PATIENCE_S), "the ranks wait for each other"
                results.append(pickle.loads(receiver.recv_bytes()))
        finally:
            for process in processes:
                process.kill()
                process.join()
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return results

    @staticmethod
    def _rank(rank: int, port: int, work: Callable[[Ranks], Any], sender: Any) -> None:
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        try:
            ranks = ManyRanks(torch.device("cpu"))
            sender.send_bytes(pickle.dumps(work(ranks)))
            ranks.leave()
        except BaseException as error:
            sender.send_bytes(pickle.dumps(RuntimeError(f"rank {rank}: {type(error).__name__}: {error}")))
        os._exit(0)


@pytest.fixture
def run(tmp_path):
    """The folder of a run that nobody has started."""
    run = RunDirectory(tmp_path / "job")
    for folder in (run.control, run.checkpoints):
        folder.mkdir(parents=True)
    write_identity(run, Summary("job", "p", "e", "rate_m", 2, 1))
    return run


@pytest.fixture
def two_ranks():
    return TwoRanks()


@pytest.fixture
def disk_order(monkeypatch):
    """The names of files that are synced, renamed and removed, in the order in which it happens."""
    done: list[str] = []
    fsync, rename, rmdir = os.fsync, os.rename, os.rmdir

    def note_fsync(file: int) -> None:
        fsync(file)
        done.append(f"sync {Path(f'/proc/self/fd/{file}').readlink().name}")

    def note_rename(source: Any, target: Any, **where: Any) -> None:
        rename(source, target, **where)
        done.append(f"{Path(source).name} -> {Path(target).name}")

    def note_rmdir(path: Any, **where: Any) -> None:
        rmdir(path, **where)
        done.append(f"remove {Path(path).name}")

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "rename", note_rename)
    monkeypatch.setattr(os, "rmdir", note_rmdir)
    return done
