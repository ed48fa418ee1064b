"""The location of the user's settings."""

import os
from pathlib import Path


def configuration_directory() -> Path:
    """The user's configuration directory: `$RBP_CONFIG`, else the platform's."""
    chosen = os.environ.get("RBP_CONFIG")
    if chosen:
        return Path(chosen).absolute()
    import platformdirs

    return Path(platformdirs.user_config_dir("rbp"))
