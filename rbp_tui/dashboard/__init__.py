"""The dashboard: Textual screens over the files of runs. It writes only through `control/` and the launcher."""
