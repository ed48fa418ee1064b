import pytest


@pytest.fixture(autouse=True)
def config(tmp_path, monkeypatch):
    folder = tmp_path / "config"
    folder.mkdir()
    (folder / "machine.toml").write_text(f"cache = '{tmp_path / 'cache'}'\n")
    monkeypatch.setenv("RBP_CONFIG", str(folder))
    return folder
