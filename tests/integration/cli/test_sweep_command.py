"""`rbp sweep`: settings changed over the same seeds, trained, and compared; typed again, it goes on."""

import json
import subprocess

import pytest
from idle import IDLE

from tests.run_files import end_run

pytestmark = pytest.mark.xdist_group("paired runs")  # they share runs
#: tests/slurm does the same on a real Slurm.
ARRAY = ("sweep", "digits", "T=1,2", "epochs=1", "batch=256", *IDLE)
SWEEP = ("sweep", "digits", "T=2", "epochs=2", "batch=128", "method=bptt,rate_m")


@pytest.fixture(scope="module")
def paired(tmp_path_factory, rbp_in):
    """A folder with the runs of two seeds with two methods each, their summaries, and the output of `rbp sweep`."""
    rbp = rbp_in(tmp_path_factory.mktemp("paired"))
    settings = rbp.folder / ".config" / "rbp" / "machine.toml"
    settings.parent.mkdir(parents=True)
    settings.write_text("cpu_slots = 2\n")
    done = rbp(*SWEEP, "--seeds", "1,2", "--no-cost")
    return rbp, {(one["seed"], one["method"]): one for one in rbp.summaries()}, done


def in_points(differences):
    mean = 100 * sum(differences) / len(differences)
    return f"{mean:+z.2f}".replace("-", "−")


def test_a_run_is_trained_for_each_value_and_seed_and_they_differ_in_nothing_else(paired):
    rbp, made, _ = paired
    assert set(made) == {(1, "bptt"), (1, "rate_m"), (2, "bptt"), (2, "rate_m")}
    assert {one["status"] for one in made.values()} == {"completed"}
    texts = {key: (rbp.runs / one["id"] / "preset.toml").read_text() for key, one in made.items()}
    for seed in (1, 2):
        changed = set(texts[seed, "bptt"].splitlines()) ^ set(texts[seed, "rate_m"].splitlines())
        assert changed == {'name = "bptt"', 'name = "rate_m"'}
    begun = sorted(made.values(), key=lambda one: one["created"])
    assert [one["seed"] for one in begun] == [1, 1, 2, 2]


def test_the_end_has_the_difference_by_seed_with_its_interval_and_the_command_that_compares(paired):
    rbp, made, done = paired
    last = {key: one["last"]["top1"] for key, one in made.items()}
    differences = [last[seed, "rate_m"] - last[seed, "bptt"] for seed in (1, 2)]
    half = 12.7062 * abs(differences[0] - differences[1]) / 2
    said = done.stderr
    assert f"rate_m − bptt: last {in_points(differences)} ± {100 * half:.2f}" in said
    (command,) = [line.partition("next: rbp ")[2] for line in said.splitlines() if "next: rbp compare" in line]
    assert len(command.split()) == 1 + 4
    found = rbp.json(*command.split())
    assert [group["settings"] for group in found["groups"]] == [{"method.name": "bptt"}, {"method.name": "rate_m"}]
    assert found["groups"][1]["last_difference"]["mean"] == pytest.approx(sum(differences) / 2)


def test_a_run_is_repeated_with_several_values_of_a_setting(paired):
    rbp, made, _ = paired
    words = ("sweep", "--like", made[1, "rate_m"]["id"], "lr=0.1,0.05", "--seeds", "1,2", "--dry-run", "--no-cost")
    plan = rbp.json(*words)
    assert [trial["settings"] for trial in plan["trials"]] == [{"optim.lr": "0.1"}, {"optim.lr": "0.05"}]
    assert plan["runs"] == 4 and plan["counts"]["done"] == 2  # its own, and that of the other seed


def test_the_same_command_trains_nothing_twice_and_with_another_seed_only_what_is_missing(paired):
    rbp, made, _ = paired
    before = sorted(path.name for path in rbp.runs.iterdir())
    done = rbp(*SWEEP, "--seeds", "1,2")
    assert "4 done" in done.stderr and "to be" not in done.stderr
    assert sorted(path.name for path in rbp.runs.iterdir()) == before
    found = rbp.json(*SWEEP, "--seeds", "1,2,3", "--status")
    assert found["counts"] == {"done": 4, "live": 0, "to be resumed": 0, "to be created": 2, "failed": 0}
    for trial, method in zip(found["trials"], ("bptt", "rate_m"), strict=True):
        assert trial["settings"] == {"method.name": method}
        ours = [made[seed, method] for seed in (1, 2)]
        assert [run["id"] for run in trial["runs"]] == [ours[0]["id"], ours[1]["id"], None]
        assert trial["last"]["mean"] == pytest.approx(sum(one["last"]["top1"] for one in ours) / 2)
        assert f"{100 * trial['last']['mean']:.2f} ± " in done.stdout


def test_what_a_missing_run_takes_is_known_from_completed_ones_of_its_size(paired):
    rbp, made, _ = paired
    cost = rbp.json(*SWEEP, "--seeds", "1,2,3", "--dry-run")["cost"]
    assert cost["unknown"] == 0 and cost["slots"] == 2
    assert cost["origins"] == ["4 runs of it"]  # two of each method
    assert 0 < cost["seconds"] < cost["device_s"]
    assert cost["memory"] == max(one["mem_peak"] for one in made.values())


def test_a_preset_with_a_sweep_is_shown_with_it_and_trained_once(rbp_here):
    shown = rbp_here("presets", "show", "digits-sweep").stdout
    (rbp_here.folder / "saved.toml").write_text(shown)
    names = ("presets", "show", "digits-sweep"), ("presets", "show", "saved.toml")
    first, second = (rbp_here.json(*words) for words in names)
    grid = {"method": ["bptt", "rate_m"], "T": [2, 4, 6]}
    assert first["sweep"] == second["sweep"] == {"seeds": [1, 2], "grid": grid}
    assert first["experiment"] == second["experiment"]
    assert "rbp sweep digits-sweep trains all" in rbp_here("train", "digits-sweep", "--dry-run").stderr
    explained = {one["key"] for one in rbp_here.json("presets", "schema", "sweep")}
    assert {"sweep.seeds", "sweep.grid", "sweep.list", "sweep.random"} <= explained
    plan = rbp_here.json("sweep", "digits-sweep", "--dry-run", "--no-cost")
    assert plan["runs"] == 12 and plan["counts"]["to be created"] == 12
    assert list(rbp_here.runs.glob("*")) == []


def test_failed_runs_are_resumed_only_if_asked_for(rbp_here):
    end_run(rbp_here.runs, "broken", "T=1", "epochs=1", status="failed")
    status = ("sweep", "digits", "T=1,2", "epochs=1", "--status")
    for words, resumed in (((), 0), (("--retry-failed",), 1)):
        counts = rbp_here.json(*status, *words)["counts"]
        assert (counts["failed"], counts["to be resumed"], counts["to be created"]) == (1 - resumed, resumed, 1)


def test_a_task_of_an_array_trains_its_run_without_the_queue_and_only_once(rbp):
    text = rbp(*ARRAY, "--slurm").stdout
    stub = 'srun() { shift; "$@"; }\nSLURM_ARRAY_TASK_ID=1\n'

    def task():
        done = subprocess.run(["bash", "-c", stub + text], env=rbp.environment, text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stderr

    task()
    (folder,) = rbp.runs.iterdir()
    run = json.loads((folder / "run.json").read_text())
    assert run["sweep"] == {"name": "digits-T", "trial": 2} and run["dispatch"]["gpus"] is None
    assert rbp.summary()["status"] == "completed"
    assert f"{folder.name} is done: completed" in task()
    assert len(list(rbp.runs.iterdir())) == 1 and len(list((folder / "attempts").iterdir())) == 1
