"""How a run stands and why: processes, evidence, its past."""
