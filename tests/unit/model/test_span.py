"""Spans of time are written the way people write them."""

from __future__ import annotations

from datetime import timedelta

import pytest

from core.model.span import span


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("30s", timedelta(seconds=30)),
        ("15m", timedelta(minutes=15)),
        ("1h", timedelta(hours=1)),
        ("7d", timedelta(days=7)),
    ],
)
def test_a_number_and_a_unit_name_a_span(text: str, length: timedelta) -> None:
    assert span(text) == length


@pytest.mark.parametrize("text", ["", "1", "h", "0h", "-1h", "1.5h", "1 h", "1w", "401d", "1h30m", "９h"])
def test_anything_else_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"1h or 7d|between"):
        span(text)
