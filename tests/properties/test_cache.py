"""The cache keeps questions apart, forgets in time, takes nothing for an answer that is none, and counts right."""

from __future__ import annotations

import pickle
import signal
import sys
import threading
import unicodedata
import zlib
from collections import OrderedDict
from collections.abc import Mapping
from datetime import timedelta

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.model.calling import CallClass
from core.model.message import ApiResponse
from core.policies.admission import AdmissionPolicy, Ask, Granted
from core.policies.cache import cache_key
from core.policies.policy import CachePolicy
from core.state.base import Wanted
from core.state.cache import MAX_BYTES, CachedAnswer, CacheService, CacheStats, Near
from core.state.memory import MemoryState
from tests.fakes import NOON, FakeClock
from tests.forked import in_child

KEY = "address:search:1"
ANSWER = ApiResponse(200, (("Content-Type", "application/json"),), '{"도로명": "세종대로"}'.encode())

texts = st.text(st.sampled_from("a1é가\u0301e\u1100\u1161:{}\ud800"), max_size=4)
plain = (
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, -0.0, 1.0, 1.5, float("inf")])
    | texts
    | st.binary(max_size=2)
)
values = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(texts, inner, max_size=3)
        | st.frozensets(plain, max_size=3)
    ),
    max_leaves=6,
)
parameters = st.dictionaries(texts, values, max_size=4)
responses = st.builds(
    ApiResponse,
    status=st.integers(100, 599),
    headers=st.lists(st.tuples(st.text(max_size=8), st.text(max_size=8)), max_size=4).map(tuple),
    body=st.binary(max_size=64) | st.binary(min_size=4096, max_size=6000),
)
moments = st.integers(0, 400_000_000)
seconds = st.integers(0, 500)
FREE = AdmissionPolicy(None, None, None)


def service(clock: FakeClock) -> tuple[CacheService, MemoryState]:
    """A cache, and the store that it keeps its answers in."""
    store = MemoryState(clock)
    return CacheService(store, clock), store


def plainly(value: object) -> object:
    """What a value means as a parameter, in a form that Python compares as we want it compared."""
    match value:
        case str():
            return ("str", unicodedata.normalize("NFC", value))
        case Mapping():
            return ("mapping", sorted(repr((plainly(key), plainly(held))) for key, held in value.items()))
        case frozenset():
            return ("set", sorted(repr(plainly(held)) for held in value))
        case list() | tuple():
            return (type(value).__name__, [plainly(held) for held in value])
        case float():
            return ("float", str(value + 0.0))
        case _:
            return (type(value).__name__, repr(value))


@pytest.mark.property(31)
@pytest.mark.fault("CA-01")
@given(one=parameters, other=parameters)
@example(one={"q": 1}, other={"q": True})
@example(one={"q": 1}, other={"q": 1.0})
@example(one={"q": 1}, other={"q": "1"})
@example(one={"q": None}, other={})
@example(one={"q": None}, other={"q": "None"})
@example(one={"q": [1]}, other={"q": (1,)})
@example(one={"q": [[1], 2]}, other={"q": [[1, 2]]})
@example(one={"q": ["a", "b"]}, other={"q": ["ab"]})
@example(one={"q": {"a": 1}}, other={"q": [["a", 1]]})
@example(one={"q": b"a"}, other={"q": "a"})
@example(one={"q": 0.0}, other={"q": -0.0})
@example(one={"q": "é"}, other={"q": "e\u0301"})
@example(one={"가": 1}, other={"\u1100\u1161": 1})
def test_two_questions_share_a_key_if_and_only_if_they_are_the_same(
    one: dict[str, object], other: dict[str, object]
) -> None:
    is_same = plainly(one) == plainly(other)

    assert (cache_key("address", "search", one) == cache_key("address", "search", other)) is is_same


@pytest.mark.property(31)
@given(question=parameters, data=st.data())
def test_the_order_of_parameters_does_not_matter(question: dict[str, object], data: st.DataObject) -> None:
    shuffled = dict(data.draw(st.permutations(list(question.items()))))

    assert cache_key("address", "search", question) == cache_key("address", "search", shuffled)


@pytest.mark.property(31)
@given(
    one=st.tuples(texts, texts, st.integers(1, 3)),
    other=st.tuples(texts, texts, st.integers(1, 3)),
)
@example(one=("a:b", "c", 1), other=("a", "b:c", 1))
def test_integration_operation_and_version_belong_to_the_key(
    one: tuple[str, str, int], other: tuple[str, str, int]
) -> None:
    keys = [
        cache_key(integration, operation, {}, version) for integration, operation, version in (one, other)
    ]

    assert (keys[0] == keys[1]) is (one == other)


@pytest.mark.property(31)
@pytest.mark.fault("CA-02")
@given(
    one=st.tuples(texts, texts, st.integers(1, 2), st.sampled_from([{}, {"q": "b"}])),
    other=st.tuples(texts, texts, st.integers(1, 2), st.sampled_from([{}, {"q": "b"}])),
)
@example(one=("a", "", 1, {}), other=("", "a", 1, {}))
@example(one=("", "", 1, {}), other=("", "1", 1, {}))
def test_neither_two_tenants_nor_two_configurations_share_a_key(
    one: tuple[str, str, int, dict[str, object]], other: tuple[str, str, int, dict[str, object]]
) -> None:
    keys = [
        cache_key("address", "search", question, version, tenant=tenant, configuration=configuration)
        for tenant, configuration, version, question in (one, other)
    ]
    is_same = [unicodedata.normalize("NFC", text) for text in one[:2]] == [
        unicodedata.normalize("NFC", text) for text in other[:2]
    ] and one[2:] == other[2:]

    assert (keys[0] == keys[1]) is is_same


@pytest.mark.property(31)
@pytest.mark.parametrize(
    ("special", "plain"),
    [
        (CallClass.BATCH, "batch"),
        (signal.Signals.SIGTERM, int(signal.Signals.SIGTERM)),
        (OrderedDict(a=1), {"a": 1}),
        (Near(1, "a", 2.0, 3.0, 4), (1, "a", 2.0, 3.0, 4)),
    ],
)
def test_a_value_of_a_derived_type_means_what_its_basic_type_means(special: object, plain: object) -> None:
    assert cache_key("address", "search", {"q": special}) == cache_key("address", "search", {"q": plain})


@pytest.mark.property(30)
@given(ttl=moments, stale=moments, passed=moments)
@example(ttl=1_000_000, stale=0, passed=999_999)
@example(ttl=1_000_000, stale=0, passed=1_000_000)
@example(ttl=1_000_000, stale=1, passed=1_000_000)
def test_an_answer_is_fresh_strictly_before_its_time_to_live_is_over_and_kept_for_the_stale_time(
    ttl: int, stale: int, passed: int
) -> None:
    clock = FakeClock()
    cache, _ = service(clock)
    cache.set(KEY, ANSWER, "juso", ttl / 1e6, stale / 1e6)

    clock.advance(passed / 1e6)

    found = cache.get(KEY)
    if found is None:
        assert passed >= ttl + stale - 1
    else:
        assert passed < ttl + stale
        assert found.is_fresh(clock.now()) is (passed < ttl)
        assert found.age(clock.now()) == pytest.approx(passed / 1e6)


@pytest.mark.property(30)
@given(step=st.integers(61, 1_000_000))
def test_an_answer_from_the_future_is_of_no_use(step: int) -> None:
    clock = FakeClock()
    cache, _ = service(clock)
    cache.set(KEY, ANSWER, "juso", 60, 3600)

    clock.set_back(step)

    assert cache.get(KEY) is None
    assert not CachedAnswer(ANSWER, "juso", NOON, 60, 3600).is_fresh(clock.now())


@pytest.mark.property(30)
@pytest.mark.parametrize("passed", [0, 59, 3000])
def test_an_answer_whose_age_nobody_knows_does_not_stand_in(passed: int) -> None:
    clock = FakeClock()
    cache, store = service(clock)
    cache.keep(KEY, "one", ANSWER, "juso", CachePolicy(60, 3600), ttl_s=60)
    clock.advance(passed)
    clock.set_back(30 * 86_400)

    assert cache.unpack(store.read(KEY), is_fresh=False) is None


@given(step=st.integers(0, 60))
def test_a_clock_that_is_a_little_behind_makes_an_answer_no_worse(step: int) -> None:
    clock = FakeClock()
    cache, _ = service(clock)
    cache.set(KEY, ANSWER, "juso", 60, 3600)

    clock.set_back(step)

    found = cache.get(KEY)
    assert found is not None
    assert (found.is_fresh(clock.now()), found.age(clock.now())) == (True, 0)


def test_a_forked_child_has_nothing_at_hand_and_counts_by_itself() -> None:
    clock = FakeClock()
    cache, _ = service(clock)
    cache.put_near(KEY, "value", "juso", 10, 60)
    cache.missed()

    def begin_anew() -> None:
        assert cache.near(KEY) is None
        assert cache.get_stats() == CacheStats()
        cache.put_near(KEY, "the child's", "juso", 10, 60)

    with cache._lock:
        assert in_child(begin_anew)
    assert (cache.near(KEY), cache.get_stats().misses) == (Near("value", "juso", 1000.0, 1060.0, 10), 1)


@pytest.mark.property(30)
@given(
    ttl=seconds,
    stale=seconds,
    revalidate=seconds,
    passed=seconds | st.sampled_from(["ttl", "revalidate", "stale"]),
)
def test_what_the_store_serves_is_fresh_or_just_being_fetched_anew_and_what_it_keeps_may_stand_in(
    ttl: int, stale: int, revalidate: int, passed: int | str
) -> None:
    """Time is whole seconds, and often just the one at which something ends."""
    clock = FakeClock()
    cache, store = service(clock)
    policy = CachePolicy(ttl, stale, revalidate_s=revalidate)
    assert cache.keep(KEY, "one", ANSWER, "juso", policy, ttl_s=ttl)
    ends = {"ttl": ttl, "revalidate": ttl + revalidate, "stale": ttl + stale}
    age = ends[passed] if isinstance(passed, str) else passed
    clock.advance(age)

    kept, outcome = store.open("address.juso", FREE, Ask(), Wanted(KEY, "other", 1))
    answer = cache.unpack(kept, is_fresh=outcome is None)

    assert (outcome is None) is (age < ttl + revalidate)
    assert (answer is not None) is (age < ttl + max(stale, revalidate))
    if answer is not None:
        now = clock.now()
        assert answer == CachedAnswer(ANSWER, "juso", NOON, ttl, stale, revalidate)
        assert answer.is_fresh(now) is (age < ttl)
        assert answer.is_revalidated(now) is (ttl <= age < ttl + revalidate)


def test_an_answer_that_the_store_calls_fresh_is_served_whatever_the_clock_on_the_wall_says() -> None:
    clock = FakeClock()
    cache, store = service(clock)
    cache.keep(KEY, "one", ANSWER, "juso", CachePolicy(60, 0), ttl_s=60)
    clock.set_back(-3600)

    kept, outcome = store.open("address.juso", FREE, Ask(), Wanted(KEY, "other", 1))
    answer = cache.unpack(kept, is_fresh=outcome is None)

    assert answer is not None
    assert not answer.is_fresh(clock.now())


@pytest.mark.parametrize("body", [b"x" * (MAX_BYTES + 1), b"x" * MAX_BYTES])
def test_an_answer_that_is_too_large_is_not_kept_and_its_lease_ends_all_the_same(body: bytes) -> None:
    """The second one is only found to be too large with its head, when it is packed."""
    cache, store = service(FakeClock())
    store.open("address.juso", FREE, Ask(), Wanted(KEY, "one", 60_000_000))

    is_kept = cache.keep(KEY, "one", ApiResponse(200, (), body), "juso", CachePolicy(60, 0), ttl_s=60)

    assert is_kept is (len(body) <= MAX_BYTES)
    assert store.read(KEY) is None
    outcome = store.open("address.juso", FREE, Ask(), Wanted(KEY, "other", 1)).outcome
    assert isinstance(outcome, Granted)


@pytest.mark.property(30)
@given(local=seconds, age=seconds, passed=seconds)
@example(local=60, age=0, passed=59)
@example(local=60, age=0, passed=60)
@example(local=0, age=0, passed=0)
def test_a_value_is_at_hand_strictly_before_its_time_is_over(local: int, age: int, passed: int) -> None:
    clock = FakeClock()
    cache, _ = service(clock)
    cache.put_near(KEY, "a value", "juso", 10, local, age)
    clock.advance(passed)

    near = cache.near(KEY)

    assert (near is not None) is (passed < local)
    if near is not None:
        assert (near.value, near.provider) == ("a value", "juso")
        assert clock.monotonic() - near.stored == age + passed


@given(sizes=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 60)), max_size=60))
@example(sizes=[(number, 10) for number in range(60)])
@example(sizes=[(0, 60), (1, 60), (0, 1), (2, 60)])
@example(sizes=[(0, 101)])
def test_what_is_at_hand_is_bounded_and_the_newest_is_among_it(sizes: list[tuple[int, int]]) -> None:
    cache = CacheService(MemoryState(FakeClock()), FakeClock(), max_near=20, max_near_bytes=100)
    for name, size in sizes:
        cache.put_near(f"address:search:{name}", name, "juso", size, 60)

        found = [near for number in range(60) if (near := cache.near(f"address:search:{number}"))]
        assert len(found) <= 20
        assert sum(near.body_bytes for near in found) <= 100
        assert (name in [near.value for near in found]) is (size <= 100)


@pytest.mark.property(32)
@given(
    operations=st.lists(st.sampled_from(["search", "searchx", "detail"]), max_size=12),
    forgotten=st.sampled_from(["search", "detail"]),
)
def test_what_is_forgotten_is_not_at_hand_either(operations: list[str], forgotten: str) -> None:
    cache, _ = service(FakeClock())
    keys = {cache_key("address", operation, {"n": n}): operation for n, operation in enumerate(operations)}
    for key in keys:
        cache.put_near(key, "a value", "juso", 1, 60)

    cache.delete_pattern(f"address:{forgotten}:*")

    left = {key for key in keys if keys[key] != forgotten}
    assert {key for key in keys if cache.near(key)} == left
    for key in left:
        cache.delete(key)
        assert cache.near(key) is None


@pytest.mark.property(33)
def test_no_hit_is_lost_when_threads_count_at_once() -> None:
    cache, _ = service(FakeClock())
    cache.put_near(KEY, "a value", "juso", 1, 60)
    barrier = threading.Barrier(8)

    def look() -> None:
        barrier.wait()
        for _ in range(5000):
            cache.near(KEY)
            cache.unpack(None, is_fresh=False)

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=look) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(before)

    assert cache.get_stats() == CacheStats(hits=40_000, misses=40_000, near=40_000)


@pytest.mark.property(33)
@given(
    steps=st.lists(
        st.sampled_from(["look", "keep", "put near", "wait", "plant", "delete"]) | st.just("look"),
        max_size=40,
    )
)
def test_the_lookups_of_a_call_are_each_counted_once_and_equal_a_recount(steps: list[str]) -> None:
    """As a call looks: at hand first, then in the store."""
    clock = FakeClock()
    cache, store = service(clock)
    near = hits = stale = unreadable = misses = 0
    for step in steps:
        match step:
            case "keep":
                cache.keep(KEY, "one", ANSWER, "juso", CachePolicy(60, 60), ttl_s=60)
            case "put near":
                cache.put_near(KEY, "a value", "juso", 1, 30)
            case "wait":
                clock.advance(40)
            case "plant":
                store.write(KEY, b"not an answer", 60)
            case "delete":
                cache.delete(KEY)
            case _ if cache.near(KEY) is not None:
                near += 1
            case _:
                kept, outcome = store.open("address.juso", FREE, Ask(), Wanted(KEY, "one", 1))
                answer = cache.unpack(kept, is_fresh=outcome is None)
                hits += outcome is None
                misses += outcome is not None
                stale += answer is not None and outcome is not None
                unreadable += kept == b"not an answer"

    stats = cache.get_stats()

    assert stats == CacheStats(hits + near, misses, stale, unreadable, near)
    assert stats.lookups == hits + near + misses


@pytest.mark.property(33)
@given(
    steps=st.lists(st.sampled_from(["get", "set", "wait", "plant", "delete"]) | st.just("get"), max_size=40)
)
def test_hits_and_misses_are_all_lookups_and_equal_a_recount(steps: list[str]) -> None:
    clock = FakeClock()
    cache, store = service(clock)
    found: list[CachedAnswer | None] = []
    hits = stale = unreadable = 0
    for step in steps:
        match step:
            case "set":
                cache.set(KEY, ANSWER, "juso", 60, 60)
            case "wait":
                clock.advance(40)
            case "plant":
                store.write(KEY, b"not an answer", 60)
            case "delete":
                cache.delete(KEY)
            case _:
                unreadable += store.read(KEY) == b"not an answer"
                answer = cache.get(KEY)
                found.append(answer)
                hits += answer is not None and answer.is_fresh(clock.now())
                stale += answer is not None and not answer.is_fresh(clock.now())

    stats = cache.get_stats()

    assert stats == CacheStats(hits, len(found) - hits, stale, unreadable)
    assert stats.lookups == len(found)
    assert stats.hit_rate == (hits / len(found) if found else None)


@pytest.mark.property(32)
@given(
    operations=st.lists(st.sampled_from(["search", "searchx", "detail"]), max_size=12),
    forgotten=st.sampled_from(["search", "detail"]),
)
def test_forgetting_one_operation_leaves_the_others(operations: list[str], forgotten: str) -> None:
    cache, _ = service(FakeClock())
    keys = {cache_key("address", operation, {"n": n}): operation for n, operation in enumerate(operations)}
    for key in keys:
        cache.set(key, ANSWER, "juso", 60, 0)

    assert cache.delete_pattern(f"address:{forgotten}:*") == operations.count(forgotten)
    assert {key for key in keys if cache.get(key)} == {key for key in keys if keys[key] != forgotten}


@given(response=responses, provider=st.text(max_size=8))
def test_an_answer_comes_back_as_it_was_kept(response: ApiResponse, provider: str) -> None:
    cache, _ = service(FakeClock())

    assert cache.set(KEY, response, provider, 60, 3600)
    assert cache.get(KEY) == CachedAnswer(response, provider, NOON, 60, 3600)


@pytest.mark.fault("CA-05")
@given(planted=st.binary(max_size=200) | st.binary(max_size=60).map(lambda junk: b"bongsu-1 " + junk))
@example(planted=b"")
@example(planted=pickle.dumps({"status": 200}))
@example(planted=b"bongsu-2 " + b"\x00" * 40)
@example(planted=b"bongsu-1z" + zlib.compress(b"x" * 100_000_000))
@example(planted=b"bongsu-1z" + zlib.compress(b"x" * 10_000)[:-8])
@example(planted=b'bongsu-1 \x00\x00\x00\x0f{"status": 200}')
@example(planted=b"bongsu-1 \xff\xff\xff\xff{}")
def test_what_is_no_answer_of_ours_is_a_miss_and_never_an_error(planted: bytes) -> None:
    cache, store = service(FakeClock())
    store.write(KEY, planted, 60)

    assert cache.get(KEY) is None
    assert cache.get_stats() == CacheStats(misses=1, unreadable=1)


@pytest.mark.fault("CA-05")
@pytest.mark.parametrize("body", [b"short", b"long" * 5000])
def test_an_answer_cut_short_or_altered_in_its_head_is_a_miss(body: bytes) -> None:
    cache, store = service(FakeClock())
    cache.set(KEY, ApiResponse(200, (), body), "juso", 60, 0)
    whole = store.read(KEY)
    assert whole is not None

    for end in range(min(len(whole), 80)):
        store.write(KEY, whole[:end], 60)
        assert cache.get(KEY) is None


def test_an_answer_may_be_as_large_as_the_limit_and_no_larger() -> None:
    cache, store = service(FakeClock())
    cache.set(KEY, ApiResponse(200, (), b""), "juso", 60, 0)
    head = len(store.read(KEY) or b"") - len(b"bongsu-1 ")

    assert cache.set(KEY, ApiResponse(200, (), b"x" * (MAX_BYTES - head)), "juso", 60, 0)
    assert cache.get(KEY) is not None
    assert not cache.set("other", ApiResponse(200, (), b"x" * (MAX_BYTES - head + 1)), "juso", 60, 0)
    assert cache.get("other") is None


def test_a_header_that_is_no_proper_text_is_not_kept() -> None:
    cache, _ = service(FakeClock())

    assert not cache.set(KEY, ApiResponse(200, (("X", "\ud800"),), b""), "juso", 60, 0)


def test_a_value_of_a_type_without_meaning_as_a_parameter_is_refused() -> None:
    with pytest.raises(TypeError, match="timedelta cannot be part of a cache key"):
        cache_key("address", "search", {"since": timedelta(1)})


def test_a_version_that_equals_another_of_another_type_has_a_key_of_its_own() -> None:
    """Whichever is asked for first: what all questions have in common is remembered."""
    for operation, versions in (("first", (True, 1, 1.0)), ("second", (1.0, 1, True))):
        keys = {cache_key("typed", operation, {}, version) for version in versions}  # type: ignore[arg-type]
        assert len(keys) == len(versions)


def test_a_key_names_integration_and_operation_and_stays_the_same_from_version_to_version() -> None:
    """Were it to change, every answer kept would be lost at an upgrade: raise `version` where that is meant."""
    key = cache_key("address", "search", {"keyword": "세종대로", "page": 1})

    assert key.startswith("address:search:")
    assert key.rsplit(":", maxsplit=1)[1][:16] == "331da0eb24f89e88"
