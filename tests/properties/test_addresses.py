"""Properties 16, 17 and 44: whatever is searched, addresses come back typed, and a mock echoes what it was asked."""

from __future__ import annotations

import dataclasses
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.client.provider import Params, Provider
from core.clock import SystemClock
from core.config.integration import ProviderConfig
from core.integrations.juso import JusoProvider
from core.integrations.kakao import KakaoProvider
from core.model.address import Address, AddressPage
from core.model.verdict import Verdict
from core.transports.http import HttpTransport
from tests.simulators.juso import KEY as JUSO_KEY
from tests.simulators.juso import JusoSimulator
from tests.simulators.kakao import KEY as KAKAO_KEY
from tests.simulators.kakao import KakaoSimulator

JUSO: Provider[AddressPage] = JusoProvider(ProviderConfig(name="juso", base_url="https://juso.invalid"))
KAKAO: Provider[AddressPage] = KakaoProvider(ProviderConfig(name="kakao", base_url="https://kakao.invalid"))
WORDS = [
    "서울",
    "강남구",
    "테헤란로",
    "역삼동",
    "509",
    "700",
    "삼성동",
    "엔씨타워",
    "152",
    "없는말",
    "판교역로",
    "12-3",
]
KEYWORDS = (
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)
    | st.text(min_size=1, max_size=80)
    | st.text("가나다라마바사로길동 0123456789-%=<>", min_size=1, max_size=40)
)
SHORT_NAMES = {
    "서울특별시": "서울",
    "경기도": "경기",
    "인천광역시": "인천",
    "부산광역시": "부산",
    "대전광역시": "대전",
}


def everything_in(address: Address) -> str:
    """All texts of an address."""
    return " ".join(str(value) for value in dataclasses.astuple(address))


def is_typed(address: Address) -> bool:
    """Whether every field has its type, and the three that each result carries are there."""
    numbers = (address.longitude, address.latitude)
    texts = [
        value
        for value in dataclasses.astuple(address)
        if not isinstance(value, Decimal) and value is not None
    ]
    return (
        all(isinstance(text, str) for text in texts)
        and all(number is None or isinstance(number, Decimal) for number in numbers)
        and (address.postal_code == "" or (address.postal_code.isdigit() and len(address.postal_code) == 5))
        and bool(address.road_address or address.lot_address)
    )


@pytest.mark.property(16)
@pytest.mark.property(17)
def test_any_keyword_finds_typed_addresses_that_match_it_or_none() -> None:
    """Asked of both providers over real connections, every answer is a page of matches or a refused keyword."""
    transport = HttpTransport(SystemClock())
    with JusoSimulator() as juso, KakaoSimulator() as kakao:
        providers: list[Provider[AddressPage]] = [
            JusoProvider(
                ProviderConfig.model_validate({"name": "juso", "base_url": juso.url, "api_key": JUSO_KEY})
            ),
            KakaoProvider(
                ProviderConfig.model_validate({"name": "kakao", "base_url": kakao.url, "api_key": KAKAO_KEY})
            ),
        ]
        seen: set[Verdict] = set()
        hits: set[str] = set()

        @example(keyword="테헤란로", page=1, page_size=10)
        @example(keyword="%", page=1, page_size=10)
        @given(keyword=KEYWORDS, page=st.integers(1, 4), page_size=st.integers(1, 30))
        def search(keyword: str, page: int, page_size: int) -> None:
            for provider in providers:
                params: Params = {"keyword": keyword, "page": page, "page_size": page_size}
                request = provider.request("search_address", params)
                response = transport.send(request, 10)
                verdict = provider.judge("search_address", response).verdict
                assert verdict in {Verdict.OK, Verdict.REQUEST_REFUSED}
                seen.add(verdict)
                if verdict is not Verdict.OK:
                    continue
                asked = dict(request.params)
                words = asked.get("keyword", asked.get("query", "")).split()
                found = provider.read("search_address", response)
                assert len(found.addresses) <= page_size
                for address in found.addresses:
                    hits.add(address.provider)
                    assert is_typed(address)
                    assert all(word in everything_in(address) for word in words)

        search()
        assert seen == {Verdict.OK, Verdict.REQUEST_REFUSED}
        assert hits == {"juso", "kakao"}
    transport.close()


@pytest.mark.property(17)
def test_what_each_provider_gives_arrives_in_the_three_parts() -> None:
    """The postal code, the address and the detailed address of buildings that are known."""
    transport = HttpTransport(SystemClock())
    with JusoSimulator() as juso, KakaoSimulator() as kakao:
        by_juso = JusoProvider(
            ProviderConfig.model_validate({"name": "juso", "base_url": juso.url, "api_key": JUSO_KEY})
        )
        by_kakao = KakaoProvider(
            ProviderConfig.model_validate({"name": "kakao", "base_url": kakao.url, "api_key": KAKAO_KEY})
        )
        for provider, keyword, parts in (
            (by_juso, "테헤란로 509", ("06169", "서울특별시 강남구 테헤란로 509", "엔씨타워 I")),
            (by_juso, "테헤란로 700", ("06200", "서울특별시 강남구 테헤란로 700", "101동,102동, 관리동")),
            (by_juso, "테헤란로 101", ("06201", "서울특별시 강남구 테헤란로 101", "역삼동")),
            (by_kakao, "테헤란로 152", ("06236", "서울 강남구 테헤란로 152", "강남파이낸스센터")),
        ):
            response = transport.send(provider.request("search_address", {"keyword": keyword}), 10)
            found = provider.read("search_address", response).addresses[0]
            assert (found.postal_code, found.road_address, found.detailed_address) == parts
    transport.close()


@pytest.mark.property(16)
@pytest.mark.property(17)
@pytest.mark.property(44)
@pytest.mark.parametrize("provider", [JUSO, KAKAO], ids=["juso", "kakao"])
@given(keyword=KEYWORDS, page=st.integers(1, 5), page_size=st.integers(1, 30))
def test_a_mock_answers_in_the_real_format_echoes_the_keyword_and_repeats_itself(
    provider: Provider[AddressPage], keyword: str, page: int, page_size: int
) -> None:
    request = provider.request("search_address", {"keyword": keyword, "page": page, "page_size": page_size})
    response = provider.imitate(request)
    assert provider.imitate(request) == response
    asked = dict(request.params)
    words = asked.get("keyword", asked.get("query", "")).split()
    verdict = provider.judge("search_address", response).verdict
    assert verdict is (Verdict.OK if words else Verdict.REQUEST_REFUSED)
    if verdict is not Verdict.OK:
        return
    found = provider.read("search_address", response)
    assert len(found.addresses) <= page_size
    assert page > 1 or found.addresses
    for address in found.addresses:
        assert is_typed(address)
        assert address.postal_code
        assert address.detailed_address
        assert all(
            word in everything_in(address) or SHORT_NAMES.get(word, word) in everything_in(address)
            for word in words
        )


@pytest.mark.property(44)
@pytest.mark.parametrize("provider", [JUSO, KAKAO], ids=["juso", "kakao"])
@given(number=st.integers(1, 99_999), road=st.sampled_from(["테헤란로", "판교역로", "망산길", "새누리로"]))
def test_a_mock_gives_the_details_of_the_very_address_that_was_asked(
    provider: Provider[AddressPage], number: int, road: str
) -> None:
    request = provider.request("get_address_details", {"keyword": f"{road} {number}"})
    response = provider.imitate(request)
    assert provider.judge("get_address_details", response).verdict is Verdict.OK
    found = provider.read("get_address_details", response).best_match(f"{road} {number}")
    assert found is not None
    assert found.road_address.endswith(f"{road} {number}")
