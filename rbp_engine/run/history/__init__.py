"""The past of a run: its history, folded from its events, and the rules that judge it."""
