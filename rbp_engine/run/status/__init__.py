"""The status of a run and the reason for it: its processes, the evidence they left, its history."""
