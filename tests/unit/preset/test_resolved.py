import tempfile
from pathlib import Path

import tomli
from hypothesis import given, settings

from rbp_engine.preset import experiment_hash, fields, read_resolved, resolved_toml
from rbp_engine.preset.schema import Preset
from tests.unit.preset.made_presets import presets


@settings(max_examples=40)
@given(presets())
def test_a_resolved_preset_reads_back_equal(preset):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "preset.toml"
        path.write_bytes(resolved_toml(preset).encode())
        again = read_resolved(path)
    assert again == preset
    assert experiment_hash(again) == experiment_hash(preset)


def test_every_field_is_written():
    written = tomli.loads(resolved_toml(Preset()))
    for info in fields():
        if not info.key.startswith("paper"):
            section, _, name = info.key.partition(".")
            assert name in written[section] if name else section in written, info.key
