"""`rbp presets new` and `diff`."""


def presets(rbp):
    return {path.name: path.read_text() for path in (rbp.folder / "presets").glob("*")}


def test_a_new_preset_is_written_and_compared_with_its_parent(rbp):
    rbp("presets", "new", "mine", "--from", "digits", "T=2", "epochs=1")
    assert "timesteps = 2" in presets(rbp)["mine.toml"] and "momentum" not in presets(rbp)["mine.toml"]
    assert "exists already" in rbp("presets", "new", "mine", "T=3", code=2).stderr
    assert rbp.json("presets", "diff", "mine") == {
        "here": "mine",
        "there": "digits",
        "differences": [
            {"key": "method.timesteps", "here": 2, "there": 4, "role": "result"},
            {"key": "train.epochs", "here": 1, "there": 20, "role": "result"},
        ],
    }
    assert rbp("presets", "diff", "mine", "digits").stdout == rbp("presets", "diff", "mine").stdout
    assert "same settings" in rbp("presets", "diff", "mine", "mine").stderr
    assert rbp.json("presets", "diff", "digits")["there"] == "defaults"
    assert rbp.json("train", "mine", "--dry-run")["preset"]["method"]["timesteps"] == 2
