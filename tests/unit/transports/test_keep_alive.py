"""Idle connections: the last used is the next to be used, the dead and the surplus are closed, and none is lost."""

from __future__ import annotations

import httpcore
import pytest

from core.transports.keep_alive import KeepAlive
from tests.forked import in_child

HERE = httpcore.Origin(b"https", b"here.invalid", 443)
THERE = httpcore.Origin(b"https", b"there.invalid", 443)


class FakeLine:
    """A line that is told what it is."""

    def __init__(self, *, idle: bool = True, expired: bool = False) -> None:
        self.idle = idle
        self.expired = expired
        self.is_closed = False

    def has_expired(self) -> bool:
        return self.expired

    def is_idle(self) -> bool:
        return self.idle

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def kept() -> KeepAlive[FakeLine]:
    """Nothing yet."""
    return KeepAlive()


def test_the_line_that_was_used_last_is_taken_first(kept: KeepAlive[FakeLine]) -> None:
    first, second, elsewhere = FakeLine(), FakeLine(), FakeLine()
    kept.give(HERE, first)
    kept.give(HERE, second)
    kept.give(THERE, elsewhere)
    assert [kept.take(HERE), kept.take(HERE), kept.take(HERE)] == [second, first, None]
    assert kept.take(httpcore.Origin(b"http", b"there.invalid", 443)) is None
    assert kept.take(THERE) is elsewhere


def test_a_line_that_has_expired_is_closed_and_passed_over(kept: KeepAlive[FakeLine]) -> None:
    good, expired = FakeLine(), FakeLine(expired=True)
    kept.give(HERE, good)
    kept.give(HERE, expired)
    assert kept.take(HERE) is good
    assert (expired.is_closed, good.is_closed) == (True, False)


def test_a_line_that_cannot_serve_again_is_closed(kept: KeepAlive[FakeLine]) -> None:
    done = FakeLine(idle=False)
    kept.give(HERE, done)
    assert done.is_closed
    assert kept.take(HERE) is None


def test_of_more_lines_than_are_kept_the_oldest_is_closed(kept: KeepAlive[FakeLine]) -> None:
    lines = [FakeLine() for _ in range(22)]
    for line in lines:
        kept.give(HERE, line)
    assert [line.is_closed for line in lines] == [True, True] + [False] * 20


def test_after_the_end_whatever_is_given_back_is_closed(kept: KeepAlive[FakeLine]) -> None:
    early, late = FakeLine(), FakeLine()
    kept.give(HERE, early)
    kept.close()
    kept.give(HERE, late)
    assert early.is_closed
    assert late.is_closed
    assert kept.take(HERE) is None


def test_a_forked_child_leaves_the_lines_of_its_parent_alone_and_keeps_its_own(
    kept: KeepAlive[FakeLine],
) -> None:
    of_the_parent, own = FakeLine(), FakeLine()
    kept.give(HERE, of_the_parent)

    def begin_anew() -> None:
        assert kept.take(HERE) is None
        kept.give(HERE, own)
        assert kept.take(HERE) is own
        kept.close()
        assert not of_the_parent.is_closed

    with kept._lock:
        # Another thread is in there.
        assert in_child(begin_anew)
    assert kept.take(HERE) is of_the_parent
