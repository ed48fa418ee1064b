"""Options and settings that would have no effect or contradict each other are refused, before anything is started or
measured.
"""

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("train digits --slurm --detach", "--slurm only prints a job file"),
        ("train digits --slurm --seeds 1,2", "--slurm writes the job file of one run"),
        ("train digits --slurm --gpus 0", "give auto or none"),
        ("train digits --nnodes 2 --id x", "needs --rdzv"),
        ("train digits --nnodes 2 --rdzv node1:29400", "--nnodes needs --id"),
        ("train digits --rdzv node1:29400", "--nnodes"),
        ("train digits --nnodes 2 --rdzv node1 --id x", "expected HOST:PORT"),
        ("train digits --nproc 0", "--nproc"),
        ("train digits --dry-run --detach", "--dry-run starts nothing"),
        ("try --example T=2", "--example leaves"),
        ("train digits T=4 method.timesteps=2", "T=4 and method.timesteps=2 set the same"),
        ("sweep digits lr=0.1,0.2 --status --dry-run", "--status and --dry-run do different things"),
        ("sweep digits lr=0.1,0.2 lr=0.3", "lr=0.1,0.2 and lr=0.3 set the same"),
        ("sweep digits lr=0.1..0.5 --search tpa", "--search tpa: expected tpe"),
        ("sweep digits lr=0.1..0.5 --search tpe --random 3", "leave one out"),
        ("sweep digits lr=0.1..0.5 --search tpe --slurm", "a search chooses its runs one by one"),
        ("bench digits batch=16 data.batch_size=8", "set the same"),
        ("try nets.py:Net --batch 16 batch=8", "batch=8 and batch=16 set the same"),
        ("cost digits T=4 T=2", "T=4 and T=2 set the same"),
    ],
)
def test_an_option_or_a_setting_without_effect_is_refused(rbp_here, tmp_path, words, message):
    done = rbp_here(*words.split(), code=2)
    assert message in " ".join(done.stderr.replace("│", " ").split())
    assert not list(tmp_path.glob("runs/*"))
