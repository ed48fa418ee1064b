"""The engine of rbp: presets, runs, the methods and training. It does not use Typer or Textual."""
