"""Which process of a run this is, and that it ends when torchrun is gone."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.status.processes import marker
from rbp_engine.train.ranks.process import RankProcess

UNDER_TORCHRUN = {
    "TORCHELASTIC_RUN_ID": "job",
    "TORCHELASTIC_ERROR_FILE": "/runs/job/ranks/job_x/attempt_0/1/error.json",
    "RANK": "3",
    "LOCAL_RANK": "1",
    "WORLD_SIZE": "4",
    "GROUP_WORLD_SIZE": "2",
}
# Reports once it has asked to end with its parent.
RANK = """
import sys, time
from pathlib import Path
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.train.ranks.process import end_with_parent
end_with_parent(RunDirectory(Path(sys.argv[1])))
print("here", flush=True)
time.sleep(60)
"""
# Starts a rank, reports its pid, and waits to be killed.
LAUNCHER = f"""
import subprocess, sys, time
rank = subprocess.Popen([sys.executable, "-c", {RANK!r}, sys.argv[1]], stdout=subprocess.PIPE, text=True)
print(rank.pid, rank.stdout.readline(), flush=True)
time.sleep(60)
"""


def test_torchruns_environment_counts_only_for_its_own_run():
    expected = RankProcess(Path("/runs/job/ranks/job_x/attempt_0/1"), rank=3, local_rank=1, world_size=4, nodes=2)
    assert RankProcess.of(RunDirectory(Path("/runs/job")), UNDER_TORCHRUN) == expected
    alone = RankProcess(Path("/runs/other/ranks/0"))
    assert RankProcess.of(RunDirectory(Path("/runs/other")), UNDER_TORCHRUN) == alone
    assert (alone.rank, alone.world_size) == (0, 1)


def test_a_rank_is_killed_with_its_launcher(tmp_path):
    environment = os.environ | marker(RunDirectory(tmp_path))
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    )
    pid, word = launcher.stdout.readline().split()
    assert word == "here"
    rank = psutil.Process(int(pid))
    launcher.kill()
    launcher.communicate()
    with pytest.raises(psutil.NoSuchProcess):
        rank.wait(30)
        rank.status()


def test_a_rank_whose_launcher_is_already_gone_kills_itself(tmp_path):
    """Its parent, this process, does not carry the run's marker."""
    done = subprocess.run([sys.executable, "-c", RANK, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (-9, "")
