import pytest

from rbp_engine.run import start


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """State, settings and runs of the user are below the current folder, and what is queued stays so."""
    for name, folder in {"XDG_STATE_HOME": "state", "RBP_CONFIG": "config", "RBP_RUNS": "runs"}.items():
        monkeypatch.setenv(name, str(tmp_path / folder))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(start, "ensure_dispatcher", lambda: None)
