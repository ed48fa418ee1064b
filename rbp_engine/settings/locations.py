"""The locations of the user's settings and state."""

import os
from pathlib import Path


def configuration_directory() -> Path:
    """The user's configuration directory: `$RBP_CONFIG`, else the platform's."""
    chosen = os.environ.get("RBP_CONFIG")
    if chosen:
        return Path(chosen).absolute()
    import platformdirs

    return Path(platformdirs.user_config_dir("rbp"))


def state_directory() -> Path:
    """The folder for what rbp remembers for this user: the queue, what is trusted. It may not exist."""
    import platformdirs

    return Path(platformdirs.user_state_dir("rbp"))
