"""What the mocks answer: the providers' own formats, realistic, and never different for the same request."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.client.provider import Provider
from core.config.integration import ProviderConfig
from core.integrations.gazetteer import romanised
from core.integrations.juso import JusoProvider
from core.integrations.kakao import KakaoProvider
from core.model.address import AddressPage

JUSO: Provider[AddressPage] = JusoProvider(ProviderConfig(name="juso", base_url="https://juso.invalid"))
KAKAO: Provider[AddressPage] = KakaoProvider(ProviderConfig(name="kakao", base_url="https://kakao.invalid"))


def imitated(
    provider: Provider[AddressPage], keyword: str, page: int = 1, page_size: int = 10
) -> AddressPage:
    """A page of what the mock of a provider finds."""
    request = provider.request("search_address", {"keyword": keyword, "page": page, "page_size": page_size})
    return provider.read("search_address", provider.imitate(request))


def test_a_full_address_is_found_once_and_as_it_was_asked() -> None:
    page = imitated(JUSO, "경기도 성남시 분당구 판교역로 235")
    assert page.total_count == len(page.addresses) == 1
    found = page.addresses[0]
    assert found.road_address == "경기도 성남시 분당구 판교역로 235"
    assert found.english_address == "235 Pangyoyeok-ro, Bundang-gu, Seongnam-si, Gyeonggi-do"
    assert (found.province, found.district, found.town) == ("경기도", "성남시 분당구", "삼평동")
    assert found.legal_dong_code == "4113510900"


def test_an_unknown_street_and_an_unknown_name_appear_in_the_answer() -> None:
    assert "행복로 12" in imitated(JUSO, "행복로 12").addresses[0].road_address
    assert imitated(JUSO, "별다방").addresses[0].building_name == "별다방"


@pytest.mark.parametrize("provider", [JUSO, KAKAO], ids=["juso", "kakao"])
@given(keyword=st.sampled_from(["강남구", "테헤란로", "별다방"]), size=st.integers(1, 30))
def test_the_pages_together_hold_each_address_once(
    provider: Provider[AddressPage], keyword: str, size: int
) -> None:
    first = imitated(provider, keyword, 1, size)
    shown = first.total_count if provider is JUSO else min(first.total_count, 45)
    pages = [imitated(provider, keyword, page, size) for page in range(1, -(-shown // size) + 2)]
    found = [address.road_address for page in pages for address in page.addresses]
    assert len(found) == len(set(found)) == shown
    assert all(len(page.addresses) <= size for page in pages)
    assert pages[-1].addresses == ()


@given(keyword=st.sampled_from(["강남구", "제주", "망산길 11-17", "별다방"]))
def test_imagined_addresses_have_the_figures_of_real_ones(keyword: str) -> None:
    for found in imitated(JUSO, keyword).addresses:
        assert re.fullmatch(r"\d{5}", found.postal_code)
        assert re.fullmatch(r"\d{10}", found.legal_dong_code)
        assert re.fullmatch(r"\d{25}", found.building_id)
    for found in imitated(KAKAO, keyword).addresses:
        assert found.longitude is not None
        assert found.latitude is not None
        assert 124 < found.longitude < 132
        assert 33 < found.latitude < 39


def test_a_request_without_a_keyword_is_refused_as_the_providers_do() -> None:
    for provider in (JUSO, KAKAO):
        request = provider.request("search_address", {"keyword": ""})
        assert provider.judge("search_address", provider.imitate(request)).verdict == "request_refused"


@pytest.mark.parametrize("provider", [JUSO, KAKAO], ids=["juso", "kakao"])
def test_the_health_request_is_answered_by_the_mock(provider: Provider[AddressPage]) -> None:
    response = provider.imitate(provider.health_request())
    assert provider.judge("search_address", response).verdict == "ok"


@pytest.mark.parametrize(
    ("korean", "latin"),
    [
        ("테헤란로", "Teheran-ro"),
        ("세종대로", "Sejong-daero"),
        ("망산길", "Mangsan-gil"),
        ("강남구", "Gangnam-gu"),
        ("경기도", "Gyeonggi-do"),
        ("서울", "Seoul"),
        ("A1로", "A1-ro"),
        ("로", "Ro"),
        ("", ""),
    ],
)
def test_names_are_romanised_with_their_suffix_set_apart(korean: str, latin: str) -> None:
    assert romanised(korean) == latin
