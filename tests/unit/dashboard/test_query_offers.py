"""What the filter of Runs offers to complete its last term."""

import asyncio
from pathlib import Path

import pytest

from rbp_engine.settings.machine import machine_file, save_query
from rbp_tui.dashboard.runs.query_input import TermSuggester


def offered(text: str) -> str | None:
    return asyncio.run(TermSuggester().get_suggestion(text))


def test_the_last_term_is_completed_to_a_saved_query_or_a_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RBP_CONFIG", str(tmp_path))
    assert offered("@") is None
    save_query("night", "T=4")
    assert offered("@") == offered("@n") == "@night" and offered("acc>0.9 -@ni") == "acc>0.9 -@night"
    assert offered("T=4 archi") == "T=4 archived"
    assert offered("met") == "method" and offered("meth") == "method"
    for text in ("", "m", "@night", "method", "zzz", "@x", "method:ra"):
        assert offered(text) is None
    machine_file().write_text("runs = 3")
    assert offered("@n") is None
