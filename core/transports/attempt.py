"""One exchange over HTTP: how long it may still take, how far it has come, and what its end is called."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpcore

from core.clock import Clock
from core.model.verdict import Verdict
from core.transports.base import TransportFault


@dataclass(slots=True)
class Attempt:
    """What is known of one exchange while it goes on. `deadline` is a reading of the clock's `monotonic`.

    `has_sent` is False only as long as it is certain that no byte of the request has left the process.
    """

    clock: Clock
    deadline: float
    has_sent: bool = False
    has_read: bool = False
    peer_has_ended: bool = False

    def seconds_left(self) -> float:
        """Always more than zero: raises `TimeoutError` when the time is over."""
        left = self.deadline - self.clock.monotonic()
        if left <= 0:
            raise TimeoutError
        return left

    def shares(self, addresses: list[str]) -> Iterator[tuple[str, float]]:
        """Each address to try, with its share of the time that is left then."""
        for untried, address in zip(range(len(addresses), 0, -1), addresses, strict=True):
            yield address, self.seconds_left() / untried

    def fault(self, verdict: Verdict, detail: str) -> TransportFault:
        return TransportFault(verdict, detail, may_have_arrived=self.has_sent)


@contextmanager
def faults_named(attempt: Attempt) -> Iterator[None]:
    """Turn what a connection raises into a `TransportFault`, in words of our own: theirs may quote a header."""
    try:
        yield
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise attempt.fault(Verdict.TIMED_OUT, "no whole answer in time") from error
    except httpcore.ConnectError as error:
        raise attempt.fault(Verdict.DISCONNECTED, f"no connection: {str(error)[:200]}") from error
    except httpcore.NetworkError as error:
        raise attempt.fault(Verdict.DISCONNECTED, "the connection broke") from error
    except httpcore.RemoteProtocolError as error:
        if attempt.peer_has_ended:
            raise attempt.fault(Verdict.DISCONNECTED, "the connection was cut") from error
        raise attempt.fault(Verdict.MALFORMED, "the answer is not HTTP") from error
    except httpcore.LocalProtocolError as error:
        raise unsent("the request is not HTTP: check the provider's address and its key") from error


def unsent(detail: str) -> TransportFault:
    """The fault of a request that cannot be written down."""
    return TransportFault(Verdict.REQUEST_REFUSED, detail, may_have_arrived=False)


def malformed(detail: str) -> TransportFault:
    """The fault of an answer that cannot be taken."""
    return TransportFault(Verdict.MALFORMED, detail, may_have_arrived=True)
