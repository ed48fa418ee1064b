"""`--nproc` and `--nnodes`: what they would start, and what they print for a scheduler."""

import subprocess

import pytest

NODES = ("--nproc", "4", "--nnodes", "2", "--rdzv", "node1:29400")


def test_a_dry_run_shows_the_launcher_of_several_processes_and_creates_nothing(rbp_here):
    printed = rbp_here.json("train", "digits", "--nproc", "2", "--dry-run")
    assert printed.keys() == {"preset", "command"}
    words = printed["command"]
    assert words[words.index("-m") + 1] == "torch.distributed.run"
    assert words[words.index("--nproc-per-node") + 1] == "2"
    assert not rbp_here.runs.exists()


def test_for_several_nodes_a_dry_run_prints_a_job_file_that_a_requeue_continues(rbp_here):
    done = rbp_here("train", "digits", "seed=3", *NODES, "--id", "night", "--dry-run")
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, capture_output=True).stderr == ""
    assert "--id night --resume-or-start" in done.stdout
    assert f'--nproc 4 --nnodes 2 --rdzv "$head:$port" --runs-dir {rbp_here.runs}' in done.stdout
    assert "torch.distributed.run --nnodes 2 --nproc-per-node 4" in done.stderr
    assert rbp_here.json("train", "digits", "seed=3", *NODES, "--id", "night", "--dry-run")["job_file"] == done.stdout
    assert rbp_here("train", "digits", "--slurm", "--id", "night").stdout.startswith("#!/bin/bash\n# To fill in")
    assert '--nnodes 2 --rdzv "$head:$port"' in rbp_here("train", "digits", "--slurm", "--nnodes", "2").stdout
    assert not rbp_here.runs.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--nnodes", "2", "--id", "x"), "needs --rdzv"),
        (("--nnodes", "2", "--rdzv", "node1:29400"), "--nnodes needs --id"),
        (("--rdzv", "node1:29400"), "--nnodes"),
        (("--nnodes", "2", "--rdzv", "node1", "--id", "x"), "expected HOST:PORT"),
        (("--nproc", "0"), "--nproc"),
        (("--slurm", "--seeds", "1,2"), "--slurm writes the job file of one run"),
        (("--slurm", "--gpus", "0"), "give auto or none"),
    ],
)
def test_options_that_do_not_go_together_are_usage_errors(rbp_here, words, message):
    assert message in rbp_here("train", "digits", *words, code=2).stderr
    assert not rbp_here.runs.exists()
