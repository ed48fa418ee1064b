"""The Presets screen and its editor."""
