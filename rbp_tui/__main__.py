"""`python -m rbp_tui` is `rbp` of this very installation, also where that is not on the path."""

from rbp_tui.cli import main

main()
