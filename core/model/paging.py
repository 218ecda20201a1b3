"""Reading rows to the end, a page at a time, so that no query is unbounded."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar


class Numbered(Protocol):
    """A row that pages are ordered by."""

    @property
    def id(self) -> int: ...


Row = TypeVar("Row", bound=Numbered)


def in_pages(read: Callable[[int | None], Sequence[Row]], limit: int) -> Iterator[Row]:
    """Every row that `read` gives after the id it is told (None for the first page), `limit` rows a page.

    A page of fewer rows is the last; none is asked for after it.
    """
    page = read(None)
    yield from page
    while len(page) == limit:
        page = read(page[-1].id)
        yield from page
