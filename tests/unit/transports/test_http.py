"""A forked child has as many requests out as it may, whatever its parent has out."""

from __future__ import annotations

import ssl

import pytest

from core.clock import SystemClock
from core.model.message import ApiRequest
from core.model.verdict import Verdict
from core.transports.base import TransportFault
from core.transports.http import HttpTransport
from core.transports.keep_alive import MAX_CONNECTIONS
from tests.forked import in_child


def test_what_the_parent_has_out_holds_up_nobody_in_a_forked_child() -> None:
    transport = HttpTransport(SystemClock(), tls=ssl.create_default_context())
    for _ in range(MAX_CONNECTIONS):
        transport._slots.acquire()

    def came_of_it() -> Verdict:
        with pytest.raises(TransportFault) as raised:
            # Nobody listens there.
            transport.send(ApiRequest("GET", "http://127.0.0.1:1/"), 0.2)
        return raised.value.verdict

    def be_refused() -> None:
        assert came_of_it() is Verdict.DISCONNECTED

    assert came_of_it() is Verdict.TIMED_OUT
    assert in_child(be_refused)
