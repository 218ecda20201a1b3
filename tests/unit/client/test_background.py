"""Errands are done behind the caller, so many at once, and what is too much is not taken."""

from __future__ import annotations

import threading

import pytest

from core.client.background import BackgroundThreads
from core.errors import IntegrationDisabled
from core.model.identity import current_trace_id, tracing


def test_an_errand_is_done_in_another_thread_under_the_callers_trace() -> None:
    background = BackgroundThreads()
    done: list[tuple[str, int]] = []
    with tracing("0" * 32):
        assert background.submit(lambda: done.append((current_trace_id(), threading.get_ident())))

    background.finish()

    [(trace_id, thread)] = done
    assert trace_id == "0" * 32
    assert thread != threading.get_ident()


def test_what_is_too_much_is_not_taken() -> None:
    background = BackgroundThreads(threads=1, most_waiting=2)
    gate = threading.Event()

    taken = [background.submit(gate.wait) for _ in range(3)]

    gate.set()
    background.finish()
    assert taken == [True, True, False]


def test_an_errand_that_fails_like_a_call_disturbs_nobody() -> None:
    background = BackgroundThreads(threads=1)

    def fail() -> None:
        raise IntegrationDisabled(integration="words", operation="look_up")

    done = threading.Event()
    background.submit(fail)
    background.submit(done.set)

    background.finish()
    assert done.is_set()


def test_closing_drops_what_has_not_begun() -> None:
    background = BackgroundThreads(threads=1)
    begun, gate, second = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        begun.set()
        gate.wait(30)

    background.submit(hold)
    background.submit(second.set)
    assert begun.wait(30)
    closing = threading.Thread(target=background.close)
    closing.start()
    gate.set()
    closing.join(30)

    assert not second.is_set()
    assert background.submit(lambda: None) is False


@pytest.mark.parametrize("times", [1, 2])
def test_closing_what_never_began_is_no_trouble(times: int) -> None:
    background = BackgroundThreads()
    for _ in range(times):
        background.close()
