"""How many processes read images."""

import multiprocessing
import os
import signal
import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rbp_engine.cores import cores_here
from rbp_engine.data.loading.batch_loader import BatchLoader
from rbp_engine.data.loading.workers import MOST_FOR_AUTO, cores_of_a_rank, reading_processes, too_many

CORES = st.integers(1, 512)


@given(CORES)
def test_auto_leaves_a_core_for_training_and_is_never_too_many(cores):
    workers = reading_processes("auto", cores)
    assert 0 <= workers <= MOST_FOR_AUTO
    assert workers in (cores - 1, MOST_FOR_AUTO)
    assert too_many("auto", cores) == too_many(workers, cores) == []


@given(CORES, st.integers(0, 256))
def test_a_number_is_taken_as_it_is_and_warned_of_once_if_there_are_fewer_cores(cores, wanted):
    assert reading_processes(wanted, cores) == wanted
    assert len(too_many(wanted, cores)) == (wanted > cores)


def test_the_processes_of_a_run_share_the_cores_of_a_machine_and_of_a_slurm_job_those_it_asked_for():
    cores = len(os.sched_getaffinity(0))
    assert cores_of_a_rank({}) == cores
    assert cores_of_a_rank({"LOCAL_WORLD_SIZE": str(cores)}) == 1
    assert cores_of_a_rank({"LOCAL_WORLD_SIZE": str(1000 * cores)}) == 1
    assert cores_here({"SLURM_CPUS_PER_TASK": "1"}) == cores_of_a_rank({"SLURM_CPUS_PER_TASK": "1"}) == 1
    assert cores_here({"SLURM_CPUS_PER_TASK": str(cores + 1)}) == cores, "bound to fewer than it asked for"
    assert cores_here({"SLURM_CPUS_PER_TASK": "(null)"}) == cores


def test_torch_does_not_repeat_the_warning_of_too_many():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read = BatchLoader(2 * len(os.sched_getaffinity(0)) + 1, torch.device("cpu")).reading(
            lambda number: (torch.tensor(number),)
        )
        assert [value.item() for (value,) in read([3, 4])] == [3, 4]


def test_a_process_that_dies_is_missed_where_its_item_is_waited_for_and_interrupts_nothing_else():
    """An error from the handler of a signal could come while a lock is being taken, which nobody would release."""
    before = signal.getsignal(signal.SIGCHLD)
    items = BatchLoader(1, torch.device("cpu")).reading(lambda number: (torch.tensor(number),))([*range(9)])
    next(iter(items))
    assert signal.getsignal(signal.SIGCHLD) is before
    (child,) = multiprocessing.active_children()
    child.kill()
    child.join()
    with pytest.raises(RuntimeError, match=r"DataLoader worker|was gone"):
        list(items)


@pytest.mark.parametrize(("backend", "reads"), [("batched", False), ("pil", True)])
def test_only_what_reads_image_by_image_has_reading_processes(open_data, backend, reads):
    feed = open_data(name="fake", batch_size=8, augment_backend=backend, workers="auto", args={"train_size": 16})
    assert feed.loader.workers == (reading_processes("auto", cores_of_a_rank()) if reads else 0)
