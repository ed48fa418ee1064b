"""Every field of a summary and of a preset is a field of queries, without being listed for that."""

from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import tomli

from rbp_engine.preset import fields as preset_fields
from rbp_engine.preset import load_preset
from rbp_engine.run.files.summary import Summary
from rbp_engine.run.launch import launch
from rbp_engine.run.store.query import parse_query
from rbp_engine.run.store.query_fields import find_field
from rbp_engine.run.store.store import RunRecord, record
from tests.run_files import change_fields

# Fields whose status lists do not take from the file, and the id, which is that of the folder.
JUDGED = {"status", "reason", "cause", "id"}


def an_example(name: str, hint: Any) -> Any:
    if name in ("status", "cause"):
        return {"status": "failed", "cause": "data"}[name]
    kinds = {hint, *get_args(hint)}
    if list in kinds or getattr(hint, "__origin__", None) is list:
        return ["paper", "draft"]
    # Accuracies are fractions, and no time is 0.25.
    return 7 if int in kinds else 0.25 if float in kinds else f"some {name}"


def summary_values() -> Iterator[tuple[str, Any]]:
    for name, hint in get_type_hints(Summary).items():
        if is_dataclass(hint):
            yield from ((f"{name}.{part}", an_example(part, inner)) for part, inner in get_type_hints(hint).items())
        else:
            yield name, an_example(name, hint)


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> RunRecord:
    """A run of a preset with all sections, whose summary has a value in every field."""
    run = launch.create(load_preset("cifar10-resnet18"), tmp_path_factory.mktemp("runs"), run_id="one")
    summary: dict[str, Any] = {}
    for name, value in summary_values():
        section, _, part = name.rpartition(".")
        (summary.setdefault(section, {}) if section else summary)[part] = value
    change_fields(run, **summary)
    found = record(run)
    assert found.readable, found.verdict.reason
    return found


@pytest.mark.parametrize(("name", "value"), summary_values())
def test_every_field_of_the_summary_can_be_asked(known: RunRecord, name: str, value: Any) -> None:
    found = find_field(name).get(known)
    if name not in JUDGED:
        assert (list(found) if isinstance(found, tuple) else found) == value
    word = found[0] if isinstance(found, tuple) else found
    if find_field(name).kind == "time":
        assert parse_query(f"{name}>1970-01-01")(known) is (value > 86400)
    elif find_field(name).kind == "span":
        assert parse_query(f"{name}<1m")(known)
    else:
        query = f"{name}='{word}'"
        assert parse_query(query)(known) and not parse_query(f"not {query}")(known)


def preset_values(path: Path) -> Iterator[tuple[str, Any]]:
    written = tomli.loads(path.read_text())
    for key in (info.key for info in preset_fields() if "[]" not in info.key):
        value: Any = written
        for part in key.split("."):
            value = value.get(part)
        yield key, value


def test_every_field_of_the_preset_can_be_asked(known: RunRecord) -> None:
    asked = set()
    for key, value in preset_values(known.run.preset_toml):
        assert find_field(key).get(known) == value or key in ("preset", "name"), key
        if isinstance(value, (str, int, float)) and "'" not in str(value) and "\n" not in str(value):
            text = str(value).lower() if isinstance(value, bool) else str(value)
            assert parse_query(f"{key}='{text}'")(known) or value == "", key
            asked.add(key)
    assert len(asked) > 60 and {"title", "optim.lr", "run.seed", "paper.cell", "data.flip"} <= asked
