"""The shape of data that nobody has opened."""

from rbp_engine.data.open_feed import known_shape
from rbp_engine.preset import list_presets, load_preset


def test_the_shape_of_every_presets_data_is_known():
    for entry in list_presets():
        loaded = load_preset(entry.name)
        shape = known_shape(loaded.preset.data)
        assert all(size > 0 for size in shape.image)


def test_the_shape_of_a_users_data_set_is_not_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sets.py").write_text("def mine(): ...\n")
    assert known_shape(load_preset("digits", ["data=sets.py:mine"]).preset.data) is None
