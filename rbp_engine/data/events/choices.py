"""The settings of event data that are one of several words. Needs no numpy and no torch."""

from typing import Literal

# T slices of equal event count, or of equal time.
FramesBy = Literal["number", "time"]
# By recording number, the last or the first hundred of each class for the test; or a tenth of each class at random.
SplitName = Literal["last100", "first100", "random"]
# Each channel averaged down; or what the published code does, see `resize.legacy_pil`.
Resize = Literal["exact", "legacy_pil"]
# All layouts turned alike; or as the files have it.
Orientation = Literal["canonical", "stored"]
EventSet = Literal["cifar10_dvs", "moving_digits", "sequential_digits"]
