"""Write the network of a run as a file of NIR: `python -m rbp_engine.export RUN FILE SETTINGS`, which are JSON."""

import json
import sys
from pathlib import Path
from typing import Any

from rbp_engine.child import answer
from rbp_engine.export.operations import ExportError
from rbp_engine.run.files.layout import RunDirectory


def export(run: RunDirectory, file: Path, settings: dict[str, Any]) -> dict[str, Any]:
    """The answer of `export_run`. Raises ExportError also if the package nir is missing."""
    try:
        import nir  # noqa: F401
    except ImportError as error:
        raise ExportError(f"rbp export nir needs the package nir ({error}): pip install 'rbp-tui[nir]'") from None
    from rbp_engine.export.nir_file import export_run

    return export_run(run, file, **settings)


if __name__ == "__main__":
    directory, file = RunDirectory(Path(sys.argv[1])), Path(sys.argv[2])
    sys.exit(answer(lambda _: export(directory, file, json.loads(sys.argv[3])), directory.code))
