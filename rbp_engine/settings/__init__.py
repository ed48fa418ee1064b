"""Shared by presets and machine.toml: TOML documents with line numbers, spelling, problems, locations."""
