"""A worker that reports a stall after two seconds instead of a minute."""

import sys

from rbp_engine.run.status import status
from rbp_engine.train import worker
from rbp_engine.train.record import journal

status.STALLED_AFTER_S = 2.0
journal.HEARTBEAT_S = 0.5

if __name__ == "__main__":
    worker.leave(worker.main(sys.argv[1]))
