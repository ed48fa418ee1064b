"""What stays light: no read-only command loads torch, help no pydantic either, and a worker can speak before torch."""

import subprocess
import sys

import pytest

HEAVY = ("torch", "torchvision", "spikingjelly", "scipy", "matplotlib")

COMMANDS = (
    "--help", "figure --help", "ls", "ls optim.lr=0.1", "presets diff digits", "presets list", "presets show digits",
    "presets check", "presets schema", "data list", "data check digits", "train digits --dry-run", "paper --missing",
)  # fmt: skip


def loaded_modules(command, tmp_path):
    script = (
        "import sys, atexit\n"
        "atexit.register(lambda: sys.stderr.write('MODULES ' + ' '.join(sys.modules)))\n"
        "from rbp_tui.cli import main\n"
        f"sys.argv = ['rbp', *{command.split()!r}]\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RBP_RUNS": str(tmp_path / "runs")},
        check=True,
    )
    return set(done.stderr.partition("MODULES ")[2].split())


@pytest.mark.parametrize("command", COMMANDS)
def test_a_read_only_command_loads_no_torch(command, tmp_path):
    modules = loaded_modules(command, tmp_path)
    assert "rbp_tui.cli" in modules
    assert not modules & set(HEAVY)
    assert "numpy" not in modules or not command.startswith(("presets", "data"))


def test_help_loads_no_pydantic(tmp_path):
    assert "pydantic" not in loaded_modules("--help", tmp_path)


def test_a_worker_loads_torch_only_when_its_heart_beats_already():
    script = "import sys, rbp_engine.train.worker; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert "rbp_engine.train.record.journal" in done.stdout.split()
    assert not set(done.stdout.split()) & {*HEAVY, "pydantic"}
