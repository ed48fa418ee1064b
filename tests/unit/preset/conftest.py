import pytest


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and no presets of the user."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path / "config"))
    monkeypatch.delenv("RBP_PRESETS", raising=False)
    return tmp_path
