"""Describe TOML values for error messages."""

import json


def describe_value(value: object) -> str:
    """A TOML value in words: its type, and the value itself if that is short: `the string "4"`."""
    if isinstance(value, bool):
        return "the boolean true" if value else "the boolean false"
    if isinstance(value, int):
        return f"the integer {value}" if abs(value) < 10**20 else "a very large integer"
    if isinstance(value, float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the string {json.dumps(_shortened(value), ensure_ascii=not value.isprintable())}"
    if isinstance(value, list):
        return "an array"
    if isinstance(value, dict):
        return "a table"
    return "a date or time"


def _shortened(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:57]}..."


def is_count(value: object, most: int) -> bool:
    """Whether a value is a whole number from 1 to `most`."""
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most
