"""New presets, and differences between presets."""

from pathlib import Path

import pytest
import tomli

from rbp_engine.preset import PresetError, differences, load_preset, load_text
from rbp_engine.preset.author import copy_preset, create_from_run, create_preset, is_bundled, place_of
from rbp_engine.preset.find import bundled_folder
from rbp_engine.settings.locations import configuration_directory


def test_a_new_preset_has_only_the_changed_settings_and_is_the_same_experiment():
    words = ["T=6", "lr=0.05", "epochs=20", "neuron.surrogate_args.alpha=2", "run.tags=['a']"]
    created = create_preset(place_of("mine"), "digits", words)
    text = Path("presets/mine.toml").read_text()
    assert tomli.loads(text) == {
        "title": "mine, from digits",
        "extends": "digits",
        "neuron": {"surrogate_args": {"alpha": 2.0}},
        "method": {"timesteps": 6},
        "optim": {"lr": 0.05},
        "run": {"tags": ["a"]},
    }
    assert created.experiment == load_preset("mine").experiment == load_preset("digits", words).experiment


def test_a_new_preset_without_a_source_is_based_on_the_defaults():
    create_preset(place_of("mine", for_user=True), None, ["T=6"])
    assert tomli.loads(Path("config/presets/mine.toml").read_text()) == {"title": "mine", "method": {"timesteps": 6}}
    assert load_preset("config/presets/mine.toml").parent is None


def test_a_source_given_by_path_is_extended_by_path():
    Path("nets").mkdir()
    Path("nets/base.toml").write_text("[optim]\nlr = 0.3\n")
    created = create_preset(place_of("mine"), "nets/base.toml", ["T=2"])
    assert (created.preset.optim.lr, created.preset.method.timesteps) == (0.3, 2)
    assert load_preset("mine").experiment == created.experiment


def test_a_preset_next_to_the_new_one_is_not_taken_for_the_source():
    """`extends = "base"` would mean the file next to the user's own presets, not the one that the name means here."""
    for folder, rate in (("presets", 0.3), ("config/presets", 0.7)):
        Path(folder).mkdir(parents=True)
        Path(folder, "base.toml").write_text(f"[optim]\nlr = {rate}\n")
    created = create_preset(place_of("mine", for_user=True), "base")
    assert created.preset.optim.lr == 0.3


def test_paths_of_own_code_and_of_a_teacher_are_relative_to_the_new_preset():
    Path("nets.py").write_text("class MyNet: ...\n")
    Path("mine.py").write_text("def measure(run, model): ...\n")
    words = ["model.name=nets.py:MyNet", "probes.own=mine.py:measure"]
    create_preset(place_of("mine"), "digits", [*words, "loss.distill=presets/run.pt"])
    assert load_preset("mine").preset.loss.distill == "./run.pt"
    own_code = load_preset("mine").own_code
    assert own_code["model.name"].files["nets.py"] == b"class MyNet: ...\n"
    assert own_code["probes.own"].path.resolve() == Path("mine.py").resolve()


def test_a_copy_keeps_every_character_and_does_not_overwrite_a_preset():
    text = '# mine\r\nextends = "digits"\r\n\r\n[optim]\r\nlr = 0.05   # half\r\n'
    Path("mine.toml").write_bytes(text.encode())
    copy_preset(place_of("other"), Path("mine.toml"))
    assert Path("presets/other.toml").read_bytes() == text.encode()
    with pytest.raises(PresetError, match="exists already"):
        copy_preset(place_of("other"), Path("mine.toml"))
    assert [path.name for path in Path("presets").iterdir()] == ["other.toml"]


def test_a_preset_with_the_settings_of_a_run_uses_the_code_that_the_run_has():
    Path("run/code").mkdir(parents=True)
    Path("run/code/nets.py").write_text("class MyNet: ...\n")
    text = '[optim]\nlr = 0.3\n[model]\nname = "nets.py:MyNet"\n[loss]\ndistill = "../big"\n'
    Path("run/preset.toml").write_text(text)
    create_from_run(place_of("again"), Path("run/preset.toml"), Path("run/code"), "of a run")
    assert Path("presets/again.toml").read_text().startswith("# of a run\n")
    loaded = load_preset("again")
    assert loaded.preset.optim.lr == 0.3 and loaded.preset.model.name == "../run/code/nets.py:MyNet"
    assert loaded.preset.loss.distill == "../run/teacher.safetensors"


@pytest.mark.parametrize(
    ("name", "source", "words", "message"),
    [
        ("mine", "digits", ["lrr=1"], "unknown key"),
        ("mine", "nothing", [], "no preset is called"),
        ("digits", "digits", [], "a preset of its own name"),
        ("taken", "digits", [], "exists already"),
        ("a b", None, [], "cannot be the name"),
        ("..", None, [], "cannot be the name"),
    ],
)
def test_after_an_error_nothing_is_written(name, source, words, message):
    Path("presets").mkdir()
    Path("presets/taken.toml").write_text("# mine\n")
    with pytest.raises(PresetError, match=message):
        create_preset(place_of(name), source, words)
    assert [path.name for path in Path("presets").iterdir()] == ["taken.toml"]
    assert Path("presets/taken.toml").read_text() == "# mine\n"


def test_a_text_is_checked_as_if_it_were_in_the_file():
    target = Path("presets/mine.toml")
    assert load_text('extends = "digits"\n[method]\ntimesteps = 9\n', target).preset.method.timesteps == 9
    with pytest.raises(PresetError) as caught:
        load_text('[method]\ntimesteps = "4"\n', target)
    assert caught.value.source == "presets/mine.toml" and caught.value.problems[0].line == 2
    target.parent.mkdir()
    target.write_text("")
    with pytest.raises(PresetError, match="extends itself"):
        load_text('extends = "mine"\n', target)


def test_in_a_checkout_a_new_preset_is_one_of_the_users_own(monkeypatch):
    bundled = bundled_folder() / "digits.toml"
    assert is_bundled(bundled) and not is_bundled(Path("presets/digits.toml"))
    assert place_of("mine") == Path("presets/mine.toml")
    monkeypatch.chdir(bundled_folder().parent)
    assert is_bundled(Path("presets/digits.toml"))
    assert place_of("mine") == place_of("mine", for_user=True) == configuration_directory() / "presets/mine.toml"


def test_differences_cover_settings_but_not_titles_and_descriptions():
    here, there = load_preset("digits", ["T=6", "seed=3", "title=x", "train.log_every=7"]), load_preset("digits")
    found = [(one.key, one.here, one.there, one.role) for one in differences(here.preset, there.preset)]
    assert found == [
        ("method.timesteps", 6, 4, "result"),
        ("train.log_every", 7, there.preset.train.log_every, "cost"),
        ("run.seed", 3, 1, "result"),
    ]
    assert differences(here.preset, here.preset) == []
