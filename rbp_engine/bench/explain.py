"""Errors of a measuring process in words; a traceback only for what is a fault of ours."""

import traceback
from pathlib import Path

from rbp_engine.errors import UserError
from rbp_engine.spiking.rules import UnsupportedOperation
from rbp_engine.train.device import DeviceError


def explain(error: Exception, own_code: Path) -> str:
    """What is wrong, with file and line where it comes from the user's own code, which lies in `own_code`."""
    text = str(error).strip() or type(error).__name__
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename).parent == own_code]
    if frames and not isinstance(error, UnsupportedOperation):
        return f"{Path(frames[-1].filename).name} line {frames[-1].lineno}: {type(error).__name__}: {text}"
    if isinstance(error, (UserError, DeviceError, UnsupportedOperation, ValueError, OSError)):
        return text
    traceback.print_exc()
    return f"{type(error).__name__}: {text}"
