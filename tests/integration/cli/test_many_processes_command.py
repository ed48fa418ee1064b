"""`--nproc` and `--nnodes`: what they would start, and what they print for a scheduler."""

import subprocess

NODES = ("--nproc", "4", "--nnodes", "2", "--rdzv", "node1:29400")


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
