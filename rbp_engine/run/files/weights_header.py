"""What rbp writes into the header of a file of weights, where safetensors keeps text. Without torch."""

from pathlib import Path

from rbp_engine.untrusted_files import JSON_LIMIT, open_untrusted, parse_json

KEY = "rbp"


def read_header(path: Path) -> str | None:
    """The JSON text in the header of a file of weights; None if there is none, as in those of other programs.

    Raises OSError for a file that cannot be read, and ValueError for one that is damaged or not of safetensors.
    """
    with open_untrusted(path) as file:
        length = int.from_bytes(file.read(8), "little")
        header = parse_json(file.read(min(length, JSON_LIMIT + 1)))
    metadata = header.get("__metadata__") if isinstance(header, dict) else None
    text = metadata.get(KEY) if isinstance(metadata, dict) else None
    return text if isinstance(text, str) else None
