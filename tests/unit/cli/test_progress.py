"""What a long command says about how far it is."""

import re
import time

from rbp_tui.cli.progress import progress


def test_without_a_terminal_a_line_at_every_interval_says_what_is_done_and_for_how_long(capsys):
    seen = ""

    def wait_for(pattern):
        nonlocal seen
        deadline = time.monotonic() + 30
        while not re.search(pattern, seen, re.MULTILINE):
            assert time.monotonic() < deadline, seen
            time.sleep(0.01)
            seen += capsys.readouterr().err

    with progress("measuring two things: about a second", every_s=0.02) as report:
        wait_for(r"^starting; \d+s so far$")
        report("the first thing", 0.1)
        time.sleep(0.1)
        report("the second thing", 0.3)
        wait_for(r"^the second thing; \d+s so far$")
        report("the \x1b[2J end", 0.9)
        wait_for(r"^the \\x1b\[2J end; ")
    assert seen.splitlines()[0] == "measuring two things: about a second"
