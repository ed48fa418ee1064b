"""What presets and machine.toml share: TOML documents with their lines, spelling, problems, places."""
