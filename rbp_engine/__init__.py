"""The engine of rbp: presets, runs, the method and its training. It knows neither Typer nor Textual."""
