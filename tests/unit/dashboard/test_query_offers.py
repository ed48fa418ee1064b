"""What the filter of Runs offers to complete its last term."""

import asyncio

from rbp_tui.dashboard.runs.query_input import TermSuggester


def offered(text: str) -> str | None:
    return asyncio.run(TermSuggester().get_suggestion(text))


def test_the_last_term_is_completed_to_a_field() -> None:
    assert offered("T=4 archi") == "T=4 archived"
    assert offered("met") == "method" and offered("meth") == "method"
    for text in ("", "m", "method", "zzz", "method:ra"):
        assert offered(text) is None
