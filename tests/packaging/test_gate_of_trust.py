"""Only the gates of `run/trust.py` say that code may be executed; mypy finds what takes a run or preset without."""

import re
from pathlib import Path

from rbp_engine.bench.measure import measurement
from rbp_engine.evaluation.evaluation_request import evaluate_run
from rbp_engine.run import trust
from rbp_engine.run.launch import launch

CHECKOUT = Path(__file__).parents[2]
MADE = re.compile(r"\b(?:Executable|Launchable|TrustedPreset)\(")


def test_nothing_but_the_gates_and_what_makes_a_run_calls_one_trusted():
    files = [path for package in ("rbp_engine", "rbp_tui") for path in (CHECKOUT / package).rglob("*.py")]
    made = {str(path.relative_to(CHECKOUT)) for path in files if MADE.search(path.read_text())}
    assert made == {"rbp_engine/run/trust.py", "rbp_engine/run/launch/launch.py"}


def test_what_executes_code_takes_only_what_has_passed_a_gate():
    """With any other type mypy would find nothing."""
    assert launch.create.__annotations__["loaded"] is trust.TrustedPreset
    assert launch.start.__annotations__["run"] is trust.Launchable
    assert measurement.ask.__annotations__["run"] is trust.Executable
    assert evaluate_run.__annotations__["run"] is trust.Executable
