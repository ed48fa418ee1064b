"""Whether a data set is here, in words."""

import re

from rich.text import Text

from rbp_engine.data.catalog import Presence


def presence_text(found: Presence) -> Text:
    """Whether a data set is here; if not, the commands that get it and the places searched, one per line."""
    if found.found:
        return Text("✓ here")
    text = Text("not here")
    for remedy in re.findall("`([^`]+)`", found.remedy) or [found.remedy]:
        text.append(f"\n{remedy}", style="bold")
    for place in found.looked:
        text.append(f"\nlooked in {place}", style="dim")
    return text
