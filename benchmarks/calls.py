"""What a call costs beyond the third party: a miss, a hit, a refusal and a retry, and where the time goes."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx

from benchmarks import parties
from benchmarks.measure import Case, Measured, Scale, interleaved
from benchmarks.parties import Canned
from benchmarks.report import Report, Table, compared, duration, ratio, share
from core.client.client import Client
from core.client.provider import Params
from core.clock import SystemClock
from core.errors import CircuitOpen
from core.integrations.address import AddressIntegration
from core.integrations.juso import JusoProvider
from core.model.address import AddressPage
from core.model.call_record import EndedCall
from core.model.calling import Safety
from core.model.identity import new_trace_id
from core.model.message import ApiResponse
from core.model.verdict import Verdict
from core.policies import pipeline
from core.policies.admission import Ask, Granted, Settlement
from core.policies.cache import cache_key
from core.policies.policy import CachePolicy
from core.state.base import Ended, Wanted
from core.telemetry import lines
from core.transports.http import HttpTransport
from tests.builders import attempt

_KEYWORD: Final = "테헤란로"
_SEARCH: Final = "search_address"
_ROOT: Final = Path(__file__).parent.parent
_TRIES: Final = 3
_THRESHOLD: Final = 5


def measure(scale: Scale) -> Report:
    """Every table of the subject."""
    outcomes = interleaved("calls, address", _address_cases(scale), scale.rounds, scale.within_s)
    trivial = interleaved("calls, trivial", _trivial_cases(scale), scale.rounds, scale.within_s / 2)
    parts = interleaved("calls, parts", _part_cases(scale), scale.rounds, scale.within_s / 2)
    sizes = interleaved("calls, sizes", _size_cases(scale), scale.rounds, scale.within_s / 2)
    wire = _over_loopback(scale)
    return Report(
        subject="calls",
        title="What a call costs beyond the third party",
        question="A caller of `search_address` waits for juso.go.kr, and for us. How long for us?",
        tables=(
            _beside("`search_address` with ten addresses in the answer, the answer ready-made:", outcomes),
            _beside("`Client.call` with a provider and an answer that are next to nothing:", trivial),
            _breakdown(parts),
            _by_size(sizes),
            compared("Over loopback, one kept connection, the same ten addresses:", wire, "httpx.Client.get"),
        ),
        how=(
            f"Up to {scale.rounds} rounds of {scale.calls} calls each, all cases of a table in turn within a round, "
            "after one round for warming up; medians of the rounds. Where nothing waits, the CPU time of the thread is "
            "compared, which others on the machine disturb least. State is in memory, no record is made of a call, "
            "the line of a failed attempt is written to nowhere, and waiting before a retry takes no time."
        ),
        notes=(
            (
                "By hand means plain Python for the same outcome in this process: the provider's format, a dictionary "
                f"for a cache, a counter of failures for a circuit, {_TRIES} tries in a loop. It has no limits, no "
                "record, no redaction, no deadline and no lock: it is a floor, not an equal."
            ),
            (
                "The parts are measured alone, on the arguments that a miss gives them; their sum need not be the "
                "whole. What is left over is the client's own bookkeeping."
            ),
            (
                "The record of a call is made, redacted and told of by the recorder's thread. That is no part of the "
                "miss above, and every call has it done."
            ),
            "The server of the loopback table is a process of its own that shares the cores.",
        ),
    )


class _ByHand:
    """An address search as one writes it in ten minutes."""

    def __init__(self, provider: JusoProvider, transport: Canned) -> None:
        self._provider = provider
        self._transport = transport
        self._kept: dict[str, AddressPage] = {}
        self._failures = 0

    def search(self, keyword: str) -> AddressPage:
        if keyword in self._kept:
            return self._kept[keyword]
        if self._failures >= _THRESHOLD:
            raise ConnectionError("open")
        for _ in range(_TRIES):
            with suppress(ConnectionError):
                page = parties.read_addresses(self._provider, self._transport, keyword)
                self._failures = 0
                self._kept[keyword] = page
                return page
            self._failures += 1
        raise ConnectionError("failed")


def _address_cases(scale: Scale) -> list[Case]:
    good, provider = parties.juso_answer(), parties.juso()
    cases = []
    for name, (failures, keyword) in _OUTCOMES.items():
        ours = _search(parties.address(Canned(good, failures), parties.client()), keyword)
        by_hand = _search_by_hand(_ByHand(provider, Canned(good, failures)), keyword)
        if failures == _ALWAYS:
            _fail_until_open(ours, by_hand)
        cases += [Case(name, ours, scale.calls), Case(f"{name}{_BY_HAND}", by_hand, scale.calls)]
    return cases


_BY_HAND: Final = ", by hand"
_ALWAYS: Final = 1_000_000_000
_OUTCOMES: Final[Mapping[str, tuple[int, Callable[[int], str]]]] = {
    "a miss": (0, lambda number: f"{_KEYWORD} {number}길"),
    "a cache hit": (0, lambda _number: _KEYWORD),
    "refused by an open circuit": (_ALWAYS, lambda number: f"{_KEYWORD} {number}길"),
    "two failures, then a success": (2, lambda number: f"{_KEYWORD} {number}길"),
}


def _search(integration: AddressIntegration, keyword: Callable[[int], str]) -> Callable[[int], object]:
    def search(number: int) -> object:
        try:
            return integration.search_address(keyword(number))
        except CircuitOpen as refused:
            return refused

    return search


def _search_by_hand(by_hand: _ByHand, keyword: Callable[[int], str]) -> Callable[[int], object]:
    def search(number: int) -> object:
        try:
            return by_hand.search(keyword(number))
        except ConnectionError as refused:
            return refused

    return search


def _fail_until_open(*searches: Callable[[int], object]) -> None:
    for search in searches:
        for number in range(_THRESHOLD):
            with suppress(Exception):
                search(number)


def _trivial_cases(scale: Scale) -> list[Case]:
    cases = []
    for name, (failures, keyword) in _OUTCOMES.items():
        ours = _say(parties.client(), Canned(parties.HELLO, failures), keyword)
        by_hand = _say_by_hand(Canned(parties.HELLO, failures), keyword)
        if failures == _ALWAYS:
            _fail_until_open(ours, by_hand)
        cases += [Case(name, ours, scale.calls), Case(f"{name}{_BY_HAND}", by_hand, scale.calls)]
    return cases


def _say(client: Client, transport: Canned, word: Callable[[int], str]) -> Callable[[int], object]:
    operation = parties.trivial_operation(transport, parties.trivial_policy())

    def say(number: int) -> object:
        try:
            return client.call(parties.trivial_call(operation, word(number)))
        except CircuitOpen as refused:
            return refused

    return say


def _say_by_hand(transport: Canned, word: Callable[[int], str]) -> Callable[[int], object]:
    provider, kept, failures = parties.Trivial(), dict[str, str](), [0]

    def say(number: int) -> object:
        asked = word(number)
        if asked in kept:
            return kept[asked]
        if failures[0] >= _THRESHOLD:
            return None
        for _ in range(_TRIES):
            response = transport.send(provider.request("say", {"word": asked}), 5)
            if provider.judge("say", response).verdict is Verdict.OK:
                failures[0] = 0
                return kept.setdefault(asked, provider.read("say", response))
            failures[0] += 1
        return None

    return say


def _size_cases(scale: Scale) -> list[Case]:
    """A miss, and the record of it, with answers of several sizes."""
    cases = []
    for size in _SIZES:
        good = parties.juso_answer(size)
        search = _search(
            parties.address(Canned(good), parties.client()), lambda number: f"{_KEYWORD} {number}길"
        )
        ended = _ended(good)
        calls = max(1, scale.calls // size)
        cases.append(Case(f"{_MISS_OF} {size}", search, calls))
        cases.append(Case(f"{_RECORD_OF} {size}", _record_of(ended), calls))
    return cases


def _ended(good: ApiResponse) -> EndedCall:
    """A miss that has ended, as the recorder is given it."""
    ended: list[EndedCall] = []
    parties.address(Canned(good), parties.client(ended.append)).search_address(_KEYWORD)
    return ended[0]


def _record_of(ended: EndedCall) -> Callable[[int], object]:
    return lambda _: ended.record()


_SIZES: Final = (1, 10, 30)
_MISS_OF: Final = "a miss of"
_RECORD_OF: Final = "record of"


def _by_size(measured: Mapping[str, Measured]) -> Table:
    rows = []
    for size in _SIZES:
        miss, record = measured[f"{_MISS_OF} {size}"].cpu_ns, measured[f"{_RECORD_OF} {size}"].cpu_ns
        kibibytes = f"{len(parties.juso_answer(size).body) / 1024:.1f} KiB"
        rows.append((f"{size}", kibibytes, share(record, miss), duration(miss), duration(record)))
    head = (
        "addresses",
        "body",
        "record, beside a miss",
        "CPU of a miss",
        "of its record, in the recorder's thread",
    )
    return Table("A miss by the size of the answer:", head, tuple(rows))


def _part_cases(scale: Scale) -> list[Case]:
    """What a miss of `search_address` makes happen, each part alone."""
    provider, good, client = parties.juso(), parties.juso_answer(), parties.client()
    integration = parties.address(Canned(good), client)
    params: Params = {"keyword": _KEYWORD, "page": 1, "page_size": 10}
    policy = integration.policy.admission
    page = provider.read(_SEARCH, good)
    ended = _ended(good)
    record = ended.record()
    client.cache.put_near("kept", page, "juso", len(good.body), 3600)
    well = Ended(Granted(0), Settlement.WELL)
    steps: list[Callable[[int], object]] = [
        lambda _: provider.request(_SEARCH, params),
        lambda _: provider.judge(_SEARCH, good),
        lambda _: provider.read(_SEARCH, good),
        lambda _: cache_key("address", _SEARCH, {**params, "mock": False}),
        lambda _: new_trace_id(),
        lambda number: client.cache.near(f"absent {number}"),
        lambda number: client.state.open(
            "address.juso", policy, _PATIENT, Wanted(f"address:{number}", "", 1)
        ),
        lambda _: _walk(integration),
        lambda number: client.cache.keep(f"keep {number % 500}", "", good, "juso", _KEPT_FOR, ttl_s=3600),
        lambda number: client.cache.put_near(f"near {number % 500}", page, "juso", len(good.body), 5),
        lambda _: client.state.settle("address.juso", policy, well),
        lambda _: ended.record(),
        lambda _: lines.tell(record),
        lambda _: client.cache.near("kept"),
        _search(integration, lambda number: f"{_KEYWORD} {number}길"),
    ]
    return [Case(name, run, scale.calls) for name, run in zip(_PARTS, steps, strict=True)]


_PATIENT: Final = Ask(5_000_000)
_KEPT_FOR: Final = CachePolicy(ttl_s=3600, stale_s=0)
_MISS: Final = "a miss"
_OUTSIDE: Final = (
    "not in it: settle, of a failure",
    "not in it: record, made and redacted",
    "not in it: the line of the log",
    "not in it: cache, at hand and found",
)
_PARTS: Final = (
    "provider: write the request",
    "provider: judge the answer",
    "provider: read the answer",
    "cache: the key",
    "trace id",
    "cache: look at hand, not there",
    "open, in memory: cache, circuit, limits, lease",
    "the flow, driven by nothing",
    "cache: keep the answer",
    "cache: have it at hand",
    *_OUTSIDE,
    _MISS,
)


def _walk(integration: AddressIntegration) -> pipeline.Ending:
    """The decisions of a miss, each effect carried out by saying that it went well."""
    plan = pipeline.Plan(integration.policy, 1, Safety.SAFE, True, False, False)
    flow = pipeline.flow(plan, 0.0, lambda: 0.5)
    effect = next(flow)
    try:
        while True:
            match effect:
                case pipeline.Admit():
                    effect.admission = Granted(0)
                case pipeline.Send():
                    effect.attempt = attempt()
                case pipeline.Enter():
                    effect.is_in = True
                case _:
                    pass
            effect = flow.send(0.0)
    except StopIteration as stop:
        ending: pipeline.Ending = stop.value
        return ending


def _over_loopback(scale: Scale) -> Mapping[str, Measured]:
    clock = SystemClock()
    with (
        _simulator() as url,
        httpx.Client(trust_env=False) as bare,
        closing(HttpTransport(clock)) as transport,
    ):
        provider = parties.juso(url)
        integration = parties.address(transport, parties.client(), base_url=url, has_cache=False)
        request = provider.request(_SEARCH, {"keyword": _KEYWORD, "page": 1, "page_size": 10})
        cases = [
            Case(
                "httpx.Client.get", lambda _: bare.get(request.url, params=dict(request.params)), scale.calls
            ),
            Case("HttpTransport.send", lambda _: transport.send(request, 5), scale.calls),
            Case(
                "HttpTransport and the provider's format",
                lambda _: parties.read_addresses(provider, transport, _KEYWORD),
                scale.calls,
            ),
            Case("search_address, nothing kept", lambda _: integration.search_address(_KEYWORD), scale.calls),
        ]
        return interleaved("calls, loopback", cases, scale.rounds, scale.within_s / 2)


@contextmanager
def _simulator() -> Iterator[str]:
    """A juso.go.kr of our own in a process of its own; its address."""
    process = subprocess.Popen(  # noqa: S603 -- our own program.
        [sys.executable, "-m", "tests.simulators.juso", "--key", parties.KEY],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        if process.stdout is None:
            raise RuntimeError("the simulator has no output to read its address from")
        yield process.stdout.readline().strip()
    finally:
        process.terminate()
        process.communicate(timeout=10)


def _beside(title: str, measured: Mapping[str, Measured]) -> Table:
    """Each outcome beside the same by hand. Nothing in it waits, so that CPU time is the measure."""
    rows = []
    for name in _OUTCOMES:
        ours, by_hand = measured[name], measured[f"{name}{_BY_HAND}"]
        rows.append(
            (
                name,
                ratio(ours.cpu_ns / by_hand.cpu_ns),
                duration(ours.cpu_ns),
                duration(by_hand.cpu_ns),
                duration(ours.cpu_ns - by_hand.cpu_ns),
                duration(ours.wall_ns),
            )
        )
    head = ("case", "× by hand", "CPU here", "CPU by hand", "what it adds", "by the clock")
    return Table(title, head, tuple(rows))


def _breakdown(parts: Mapping[str, Measured]) -> Table:
    whole = parts[_MISS].cpu_ns
    inside = [parts[name] for name in _PARTS if name not in {_MISS, *_OUTSIDE}]
    rest = whole - sum(part.cpu_ns for part in inside)
    rows = [
        *((part.name, part.cpu_ns) for part in inside),
        ("the rest: the client's own bookkeeping", rest),
        *((name, parts[name].cpu_ns) for name in (_MISS, *_OUTSIDE)),
    ]
    return Table(
        "Where the time of a miss of `search_address` goes:",
        ("part", "of a miss", "CPU"),
        tuple((name, share(taken, whole), _signed(taken)) for name, taken in rows),
    )


def _signed(nanoseconds: float) -> str:
    return duration(nanoseconds) if nanoseconds >= 0 else f"−{duration(-nanoseconds)}"
