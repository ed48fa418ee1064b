"""The rules that judge a run."""
