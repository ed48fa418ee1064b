"""`rbp presets`."""
