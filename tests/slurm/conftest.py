"""A Slurm of the tests' own: munged, slurmctld and two slurmd on this machine, with a folder and ports of their own."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import psutil
import pytest
import torch

from rbp_engine import compile_cache
from rbp_engine.run.files.attempts import last_attempt
from rbp_engine.run.files.layout import CHECKPOINT, RunDirectory
from rbp_engine.run.files.summary import Summary, read_summary
from tests.run_files import newest_weights
from tests.waiting import wait_for

# A minute of training while the file `slow` exists, and a few seconds without.
NET = Path(__file__).with_name("net.py")
PRESET = ("digits", "T=1", "epochs=20", "batch=256", "train.kernel=eager", f"arch={NET}:net")
STEPS = 20 * 6
DAEMONS = ("munged", "mungekey", "slurmctld", "slurmd")
SBIN = "/usr/sbin:/sbin"
CORES = 2  # of each node
ONE_CORE = ("--cpus-per-task=1",)
KILL_WAIT_S = 10
PATIENCE_S = 120.0
SOON_S = 4
# A second node, and cards, that do not exist: jobs only have to be placed on them.
CONFIGURATION = """
ClusterName=rbp
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/affinity
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
ReturnToService=2
KillWait={kill_wait}
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0,bf_interval=1
SlurmdParameters=config_overrides
GresTypes=gpu
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs={cores} RealMemory=4000
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs={cores} RealMemory=4000 Gres=gpu:2
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=2
"""


class Cluster:
    """Slurm's commands, `rbp` on the node where jobs are submitted, and the folder in which both work."""

    preset = PRESET
    steps = STEPS

    def __init__(self, slurm: Path, folder: Path) -> None:
        self.folder = folder
        self.runs = folder / "runs"
        self.slow = folder / "slow"
        self.environment = compile_cache.variables() | {
            "PATH": f"{os.environ['PATH']}:{SBIN}",
            "HOME": str(folder),
            "PYTHONPATH": str(Path(__file__).parents[2]),
            "SLURM_CONF": str(slurm / "slurm.conf"),
            "SLOW": str(self.slow),
        }
        self.began = time.monotonic()

    def tell(self, text: str) -> None:
        """Add to the transcript."""
        print(f"{time.monotonic() - self.began:6.1f} s  {text}", flush=True)

    def __call__(self, *command: str, code: int | None = 0) -> str:
        """The output of a command, or what it says of its failure, without the space around it."""
        done = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S
        )
        assert code is None or done.returncode == code, (command, done.returncode, done.stdout, done.stderr)
        return (done.stdout if done.returncode == 0 else done.stderr).strip()

    def rbp(self, *words: str, code: int = 0) -> str:
        """What `rbp` prints: on stderr if it is to end with an error."""
        self.tell(f"$ rbp {' '.join(words).replace(str(NET), 'net.py')}")
        return self(sys.executable, "-m", "rbp_tui", *words, code=code)

    def submit(self, *words: str, options: tuple[str, ...] = ()) -> str:
        """Submit the job file that `rbp` prints for these words; the id of the job."""
        (self.folder / "job.sh").write_text(self.rbp(*words, "--slurm") + "\n")
        return self.submit_again(options)

    def train(self, run: str, *words: str, options: tuple[str, ...] = ONE_CORE) -> str:
        """Submit a job that trains a run, and wait until it does; the id of the job."""
        job = self.submit("train", *self.preset, *words, "--id", run, options=options)
        self.wait_for_step(run)
        return job

    def check_continues(self, job: str, run: str) -> None:
        """Let a job that waits to be started again complete its run, without the wait at each step."""
        self.slow.unlink()
        self.start_again_soon(job)
        assert self.wait_for_state(job, "COMPLETED")["Restarts"] == "1"
        self.check(run, "completed", attempts=2)

    def submit_again(self, options: tuple[str, ...]) -> str:
        """Submit the newest job file once more."""
        job = self("sbatch", "--parsable", *options, "job.sh")
        self.tell(f"$ sbatch {' '.join((*options, 'job.sh'))}: job {job}")
        return job

    def told(self, job: str) -> dict[str, str]:
        """What Slurm says of a job, or of a task of an array."""
        return dict(re.findall(r"(\S+?)=(\S*)", self("scontrol", "show", "job", "--oneliner", job)))

    def wait_for_state(self, job: str, state: str, restarts: int = 0) -> dict[str, str]:
        def reached() -> bool:
            told = self.told(job)
            return told["JobState"] == state and int(told["Restarts"]) >= restarts

        self.wait_until(reached, f"job {job} {state}")
        told = self.told(job)
        self.tell(f"job {job}: {state}, exit code {told['ExitCode']}, restarts {told['Restarts']}")
        return told

    def check_requeued(self, job: str, run: str) -> Summary:
        """Wait until a job waits to be started again, and check that its run was saved."""
        self.wait_for_state(job, "PENDING", restarts=1)
        return self.check(run, "preempted", attempts=1)

    def start_again_soon(self, job: str) -> None:
        """Shorten the two minutes that Slurm waits before it starts a requeued job.

        They begin when the node has cleaned up, and for some seconds from then on it refuses the job as revoked.
        """
        self.tell(f"$ scontrol update JobId={job} StartTime=now+{SOON_S}")

        def started() -> bool:
            told = self.told(job)
            if told["JobState"] != "PENDING":
                return True
            at = told["StartTime"]
            if at != "Unknown" and datetime.fromisoformat(at).timestamp() > time.time() + 2 * SOON_S:
                self("scontrol", "update", f"JobId={job}", f"StartTime=now+{SOON_S}", code=None)
            return False

        self.wait_until(started, f"job {job} again")

    def wait_until(self, condition: Callable[[], object], what: str, patience_s: float = PATIENCE_S) -> None:
        wait_for(condition, patience_s, lambda: f"{what}: not within {patience_s:.0f} s\n{self.logs()}", 0.2)

    def summary(self, run: str) -> Summary | None:
        return read_summary(RunDirectory(self.runs / run))

    def wait_for_step(self, run: str, step: int = 2) -> None:
        def trained() -> bool:
            summary = self.summary(run)
            return summary is not None and summary.status == "running" and summary.step >= step

        self.wait_until(trained, f"step {step} of {run}")

    def check(self, run: str, status: str, *, attempts: int) -> Summary:
        """Check how a run has ended, and that nothing of it is left."""
        summary = self.summary(run)
        assert summary is not None
        self.tell(f"run {run}: {summary.status} {summary.reason}, step {summary.step}, attempt {summary.attempt}")
        assert (summary.status, summary.attempt) == (status, attempts), self.logs()
        saved = [path.name for path in RunDirectory(self.runs / run).checkpoints.iterdir()]
        assert max(filter(CHECKPOINT.fullmatch, saved)) == f"step-{summary.step:08}"
        return summary

    def check_same_weights(self, run: str, other: str) -> None:
        one, two = (newest_weights(RunDirectory(self.runs / name)) for name in (run, other))
        assert one.keys() == two.keys() and all(torch.equal(one[name], two[name]) for name in one)
        self.tell(f"the weights of {run} equal those of {other}, bit for bit")

    def worker(self, run: str) -> psutil.Process:
        """The live worker of a run, or the launcher of several."""
        attempt = last_attempt(RunDirectory(self.runs / run))
        assert attempt is not None
        return psutil.Process(attempt.process.pid)

    def logs(self) -> str:
        return "\n".join(f"{path.name}:\n{path.read_text()}" for path in self.folder.glob("*.log"))


@pytest.fixture(scope="session")
def slurm(tmp_path_factory: pytest.TempPathFactory, as_root: None) -> Iterator[Path]:
    """The folder of a running Slurm's configuration."""
    if "RBP_SLURM" not in os.environ:
        pytest.skip("minutes with a real Slurm: make slurm")
    path = f"{os.environ['PATH']}:{SBIN}"
    if missing := [name for name in DAEMONS if shutil.which(name, path=path) is None]:
        pytest.skip(f"there is no {missing[0]} here: Debian has it in slurm-wlm and munge")
    host = socket.gethostname().partition(".")[0]
    nodes = (host, f"{host}-b")  # nodes meet at the first, so its name has to be known
    folder = tmp_path_factory.mktemp("slurm")
    (folder / "state").mkdir()
    for node in nodes:
        (folder / f"spool-{node}").mkdir()
    (folder / "slurm.conf").write_text(
        CONFIGURATION.format(
            host=host, folder=folder, nodes=nodes, ports=free_ports(3), cores=CORES, kill_wait=KILL_WAIT_S
        )
    )
    (folder / "gres.conf").write_text(f"NodeName={nodes[1]} Name=gpu File=/dev/null,/dev/zero\n")
    environment = {"PATH": path, "SLURM_CONF": str(folder / "slurm.conf")}

    def ask(*command: str) -> str:
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60).stdout

    ask("mungekey", "--create", f"--keyfile={folder / 'munge.key'}")
    munged = ["munged", "--foreground", "--force"]
    munged += [f"--{name}={folder / file}" for name, file in (
        ("key-file", "munge.key"), ("socket", "munge.socket"), ("pid-file", "munged.pid"),
        ("log-file", "munged.log"), ("seed-file", "munged.seed"),
    )]  # fmt: skip
    commands = [munged, ["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in nodes)]
    daemons = []
    with (folder / "daemons.log").open("wb") as log:
        try:
            for command in commands:
                daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
                if command is munged:
                    wait_for((folder / "munge.socket").exists)
            wait_for(lambda: ask("sinfo", "--noheader", "--format=%T").split() == ["idle"])
            print(f"\n{ask('sinfo', '--version')}{ask('sinfo')}", flush=True)
            yield folder
            ask("scancel", "--user=root")
            wait_for(lambda: not ask("squeue", "--noheader"))
        except AssertionError:
            print("".join(f"{path.name}:\n{path.read_text()}" for path in sorted(folder.glob("*.log"))))
            raise
        finally:
            for daemon in reversed(daemons):
                daemon.terminate()
                daemon.wait(30)


def free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="module")
def cluster(slurm: Path, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """The cluster, with a folder of its own; its name is one that a shell would split and expand."""
    folder = tmp_path_factory.mktemp("jobs") / "it's a $HOME"
    folder.mkdir()
    return Cluster(slurm, folder)
