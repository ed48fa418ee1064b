"""What a Slurm job asks for, and the script around its command. tests/slurm submits such files to a real Slurm."""

import subprocess
from pathlib import Path

import pytest

from rbp_engine.data.loading.workers import too_many
from rbp_engine.preset import load_preset
from rbp_engine.run.errors import RunError
from rbp_engine.run.files.layout import RunDirectory
from rbp_engine.run.files.run_json import Resources
from rbp_engine.run.launch.slurm import SlurmJob, job_of, script, train_file
from rbp_engine.run.request import LaunchOptions, LaunchRequest

FILES = "cifar10-resnet18"  # a set of files; digits come in a package


def job(*words: str, gpus: str | None = None, processes: int = 1) -> SlurmJob:
    return job_of(load_preset(words[0], words[1:]).preset, "job", Resources(processes), gpus)


@pytest.mark.parametrize(
    ("words", "gpus", "cards"),
    [
        (("digits",), None, 0),
        (("digits",), "auto", 1),
        (("digits", "run.device=cuda"), None, 1),
        ((FILES,), None, 1),
        ((FILES,), "none", 0),
        ((FILES, "run.device=cpu"), None, 0),
        ((FILES, "run.device=cpu"), "auto", 0),
    ],
)
def test_a_job_asks_for_a_card_only_where_its_run_will_use_one(words, gpus, cards):
    assert job(*words, gpus=gpus).cards == cards
    assert job(*words, gpus=gpus, processes=4).cards == 4 * cards


@pytest.mark.parametrize(("device", "gpus", "told"), [("cuda", "none", "leave one"), ("auto", "0,1", "in a job Slurm")])
def test_cards_that_no_job_can_ask_for_are_refused(device, gpus, told):
    with pytest.raises(RunError, match=told):
        job("digits", f"run.device={device}", gpus=gpus)


@pytest.mark.parametrize("workers", ["0", "3", "auto"])
def test_a_job_asks_for_the_cores_of_its_threads_and_readers(workers):
    words = ("digits", f"data.workers={workers}")
    asked = job(*words).cores
    assert job(*words, processes=3).cores == 3 * asked
    assert too_many(load_preset(words[0], words[1:]).preset.data.workers, asked) == []
    assert (asked > job("digits").cores) == (workers != "0")


@pytest.mark.parametrize("resources", [Resources(2), Resources(8, 4, "x:1")])
def test_a_job_file_is_a_script_that_starts_or_resumes_its_run(resources):
    options = LaunchOptions(resources=resources, gpus="none", retries=2, inexact=True, from_scratch=True)
    request = LaunchRequest(FILES, ("run.name=it's $HOME",), options)
    rbp = ["/my envs/bin/python", "-m", "rbp_tui"]
    text = train_file(request, request.load(), RunDirectory(Path("/my runs/job")), rbp)
    assert subprocess.run(["bash", "-n"], input=text, text=True, capture_output=True).stderr == ""
    assert f"#SBATCH --nodes={resources.nodes}\n" in text and "#SBATCH --signal=USR1@300\n" in text
    assert ('--nnodes 4 --rdzv "$head:$port"' in text) == (resources.nodes > 1) == ("scontrol show hostnames" in text)

    command = next(line for line in text.replace("\\\n", "").splitlines() if line.startswith("srun"))
    stub = 'srun() { printf "%s\\n" "$@"; }\n'
    done = subprocess.run(["bash", "-c", stub + command], text=True, capture_output=True, check=True)
    words = done.stdout.splitlines()
    assert words[1:7] == [*rbp, "train", FILES, "run.name=it's $HOME"]
    assert words[7] == "run.device=cpu", "without a card of its own, it must not take one that it sees"
    assert words[words.index("--nproc") + 1] == str(resources.processes)
    assert words[8:14] == ["--id", "job", "--resume-or-start", "--retries", "2", "--nproc"]
    assert words[-4:] == ["--runs-dir", "/my runs", "--inexact", "--from-scratch"]


@pytest.mark.parametrize(("code", "requeued"), [(0, ""), (1, ""), (4, ""), (5, "scontrol requeue 17\n")])
def test_only_a_run_that_a_signal_has_ended_is_requeued_and_the_exit_code_is_kept(code, requeued, tmp_path):
    stubs = f'srun() {{ return {code}; }}\nscontrol() {{ echo "scontrol $*"; }}\nSLURM_JOB_ID=17\n'
    words = ["bash", "-c", f"{stubs}SLURM_CPUS_PER_TASK=1\n{script(SlurmJob('job', 1, 0, 1), 'rbp train')}"]
    done = subprocess.run(words, cwd=tmp_path, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (code, requeued)
