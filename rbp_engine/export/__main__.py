"""Write the network of a run as a file of NIR: `python -m rbp_engine.export RUN FILE …`, one line of JSON on stdout."""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rbp_engine.child import Progress, answer
from rbp_engine.export.errors import ExportError
from rbp_engine.run.files.layout import RunDirectory


def main(words: Sequence[str]) -> int:
    """Run the command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m rbp_engine.export", description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("file", type=Path)
    parser.add_argument("--weights", choices=("last", "best"), default="best")
    parser.add_argument("--dt", type=float, default=1e-4)
    parser.add_argument("--soft-reset-as-metadata", action="store_true")
    parser.add_argument("--force", action="store_true")
    settings = vars(parser.parse_args(words))
    run, file = RunDirectory(settings.pop("run").resolve()), settings.pop("file").absolute()

    def export(progress: Progress) -> dict[str, Any]:
        try:
            import nir  # noqa: F401
        except ImportError as error:
            raise ExportError(f"rbp export nir needs the package nir ({error}): pip install 'rbp-tui[nir]'") from None
        from rbp_engine.export.nir_file import export_run

        return asdict(export_run(run, file, **settings))

    return answer(export, run.code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
