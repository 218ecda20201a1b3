"""Rows are read to the end, a page at a time, with no question more than that takes."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from core.model.paging import in_pages


@dataclass(frozen=True)
class Numbered:
    id: int


@pytest.mark.parametrize(("rows", "questions"), [(0, 1), (2, 1), (3, 2), (4, 2), (6, 3)])
def test_every_row_is_read_once_and_a_short_page_is_the_last(rows: int, questions: int) -> None:
    asked: list[int | None] = []

    def read(last: int | None) -> list[Numbered]:
        asked.append(last)
        return [Numbered(number) for number in range(rows) if last is None or number > last][:3]

    assert [row.id for row in in_pages(read, 3)] == list(range(rows))
    assert len(asked) == questions
