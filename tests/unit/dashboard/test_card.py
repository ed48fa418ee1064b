"""The run card of the Monitor."""

from rbp_engine.preset import load_preset
from rbp_engine.run.launch import launch
from rbp_tui.dashboard.monitor.card import card_text


def test_a_run_with_own_code_does_not_differ_from_its_preset_by_where_its_copy_lies(tmp_path):
    (tmp_path / "nets.py").write_text("def net(**settings): ...\n")
    preset = tmp_path / "mine.toml"
    preset.write_text(f'extends = "digits"\n[model]\nname = "{tmp_path}/nets.py:net"\n')
    same, changed = (launch.create(load_preset(str(preset), words), tmp_path / "runs") for words in ([], ["T=2"]))
    assert card_text(same, None).plain.endswith("\nas mine")
    assert card_text(changed, None).plain.endswith("\ndiffers from mine\nmethod.timesteps 2 (not 4)\n")
