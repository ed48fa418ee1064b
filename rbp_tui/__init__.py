"""The front end of rbp: commands and dashboard. It reads and writes files of runs, and never loads torch."""

import sys

if sys.platform != "linux":  # here, because what is imported next is not there on Windows
    sys.exit(
        f"rbp runs on Linux, and this is {sys.platform}: on Windows use WSL2, elsewhere a Linux host (ssh -t HOST rbp)"
    )
