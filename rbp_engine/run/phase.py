"""What a live run is doing, in the words that users read."""

from enum import StrEnum


class Phase(StrEnum):
    """The phases of an attempt in their order; the last three alternate. An ended run has none."""

    NONE = ""
    IMPORTS = "loading torch"
    DATA = "loading data"
    PROCESSES = "waiting for the other processes"
    NETWORK = "building the network"
    # Until the first batch of an epoch has arrived.
    FIRST_BATCH = "waiting for data"
    # The first step of an attempt whose neurons are compiled.
    COMPILING = "compiling"
    TRAINING = "training"
    EVALUATING = "evaluating"
