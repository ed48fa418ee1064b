"""The status of a run and the reason for it: its processes, and the evidence they left."""
