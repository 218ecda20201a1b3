"""How juso and Kakao are asked, judged and read, code by code, and that nothing makes them raise."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import SecretStr

from core.config.integration import ProviderConfig
from core.integrations.juso import JusoProvider, clean_keyword
from core.integrations.kakao import KakaoProvider
from core.model.address import Address, AddressPage, tidy
from core.model.message import ApiResponse
from core.model.verdict import Judgement, Verdict

JUSO = JusoProvider(
    ProviderConfig(name="juso", base_url="https://business.juso.go.kr/", api_key=SecretStr("the-key"))
)
KAKAO = KakaoProvider(
    ProviderConfig(name="kakao", base_url="https://dapi.kakao.com", api_key=SecretStr("the-key"))
)
SEARCH, DETAILS = "search_address", "get_address_details"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def answer(body: object, status: int = 200, *headers: tuple[str, str]) -> ApiResponse:
    """An answer with this JSON."""
    return ApiResponse(status, headers, json.dumps(body).encode("utf-8", "surrogatepass"))


def juso_says(code: object, *, juso: object = None, **common: object) -> ApiResponse:
    """An answer of juso with this error code."""
    told = {
        "errorCode": code,
        "errorMessage": "이유",
        "totalCount": "0",
        "currentPage": "1",
        "countPerPage": "10",
    }
    return answer({"results": {"common": {**told, **common}, "juso": juso}})


def test_juso_is_asked_for_json_with_the_key() -> None:
    request = JUSO.request(SEARCH, {"keyword": "테헤란로 509", "page": 2, "page_size": 20})
    assert (request.method, request.url) == ("GET", "https://business.juso.go.kr/addrlink/addrLinkApi.do")
    assert dict(request.params) == {
        "confmKey": "the-key",
        "keyword": "테헤란로 509",
        "currentPage": "2",
        "countPerPage": "20",
        "resultType": "json",
    }


def test_kakao_is_asked_within_its_limits_with_the_key_in_a_header() -> None:
    request = KAKAO.request(SEARCH, {"keyword": "테헤란로", "page": 90, "page_size": 100})
    assert request.url == "https://dapi.kakao.com/v2/local/search/address.json"
    assert dict(request.params) == {
        "query": "테헤란로",
        "analyze_type": "similar",
        "page": "45",
        "size": "30",
    }
    assert dict(request.headers) == {"Authorization": "KakaoAK the-key"}
    exact = KAKAO.request(DETAILS, {"keyword": "테헤란로 509"})
    assert dict(exact.params)["analyze_type"] == "exact"


def test_the_health_request_asks_for_one_fixed_hit() -> None:
    assert dict(JUSO.health_request().params)["countPerPage"] == "1"
    assert dict(KAKAO.health_request().params)["size"] == "1"


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("테헤란로 509", "테헤란로 509"),
        ("  테헤란로\u3000509\n", "테헤란로 509"),
        ("a%=><[]b", "a b"),
        ("강남 OR 서초", "강남 서초"),
        ("select drop 판교", "판교"),
        ("World 오르막 SELECTED", "World 오르막 SELECTED"),
        ("SEL%ECT 판교", "SEL ECT 판교"),
        ("\u1112\u1161\u11ab", "한"),
        ("a\x00\ud800b", "a b"),
        ("%%", ""),
    ],
)
def test_a_keyword_is_cleaned_of_what_juso_refuses(typed: str, sent: str) -> None:
    assert clean_keyword(typed) == sent


@given(text=st.text() | st.from_regex(r"(?i)( |%|or|select|drop|가|\[)*", fullmatch=True))
def test_cleaning_a_keyword_twice_changes_nothing_more(text: str) -> None:
    once = clean_keyword(text)
    assert clean_keyword(once) == once
    assert not set("%=><[]") & set(once)


@pytest.mark.fault("CP-09")
@pytest.mark.parametrize(
    ("code", "verdict"),
    [
        ("-999", Verdict.UNAVAILABLE),
        ("E0001", Verdict.CREDENTIALS_REFUSED),
        ("E0014", Verdict.CREDENTIALS_REFUSED),
        *((f"E00{number:02}", Verdict.REQUEST_REFUSED) for number in (5, 6, 8, 9, 10, 11, 12, 13, 15)),
        ("E9999", Verdict.UNAVAILABLE),
    ],
)
def test_an_error_of_juso_is_judged_by_its_code_though_the_status_is_200(code: str, verdict: Verdict) -> None:
    judgement = JUSO.judge(SEARCH, juso_says(code))
    assert judgement == Judgement(verdict, f"{code} 이유", is_doubtful=code == "E0001")


@pytest.mark.parametrize(
    "response",
    [
        ApiResponse(200, (), b"<?xml version='1.0'?><results/>"),
        answer({"results": None}),
        answer({"results": {"common": []}}),
        juso_says("0", totalCount="many"),
        juso_says("0", totalCount=-1),
        juso_says("0", totalCount=True),
        juso_says("0", juso={"roadAddr": "x"}),
        juso_says("0", juso=["x"]),
        juso_says("0", juso=[{}]),
        juso_says("0", juso=[{"roadAddr": 5}]),
        juso_says("0", juso=[{"roadAddr": "x", "zipNo": 6169}]),
    ],
)
def test_what_is_not_in_the_format_of_juso_is_malformed(response: ApiResponse) -> None:
    assert JUSO.judge(SEARCH, response).verdict is Verdict.MALFORMED
    with pytest.raises(ValueError, match="not an answer"):
        JUSO.read(SEARCH, response)


def test_an_error_code_that_is_no_text_is_malformed() -> None:
    assert JUSO.judge(SEARCH, juso_says(0)).verdict is Verdict.MALFORMED


def test_a_success_code_does_not_excuse_a_failing_status() -> None:
    well = juso_says("0")
    assert JUSO.judge(SEARCH, ApiResponse(503, (), well.body)).verdict is Verdict.UNAVAILABLE
    assert (
        JUSO.judge(SEARCH, ApiResponse(503, (), juso_says("E0005").body)).verdict is Verdict.REQUEST_REFUSED
    )


@pytest.mark.parametrize("nothing", [None, []])
def test_no_hit_is_an_empty_page_for_a_search_and_not_found_for_details(nothing: object) -> None:
    response = juso_says("0", juso=nothing)
    assert JUSO.judge(SEARCH, response).verdict is Verdict.OK
    assert JUSO.read(SEARCH, response) == AddressPage((), 0, 1, 10)
    assert JUSO.judge(DETAILS, response).verdict is Verdict.NOT_FOUND


@pytest.mark.parametrize(
    ("names", "detailed"),
    [
        ({"detBdNmList": "101동, 102동", "bdNm": "한솔", "roadAddrPart2": " (역삼동)"}, "101동, 102동"),
        ({"detBdNmList": "", "bdNm": "엔씨타워  I", "roadAddrPart2": " (삼성동)"}, "엔씨타워 I"),
        ({"bdNm": None, "roadAddrPart2": "(삼성동)"}, "삼성동"),
        ({}, ""),
    ],
)
def test_the_detailed_address_is_the_parts_else_the_building_else_the_reference(
    names: dict[str, object], detailed: str
) -> None:
    page = JUSO.read(SEARCH, juso_says("0", juso=[{"roadAddrPart1": "서울  테헤란로 1", **names}]))
    assert page.addresses[0].detailed_address == detailed
    assert page.addresses[0].road_address == "서울 테헤란로 1"


@pytest.mark.parametrize(
    ("status", "body", "verdict", "retry_after"),
    [
        (400, {"errorType": "MissingParameter", "message": "m"}, Verdict.REQUEST_REFUSED, None),
        (401, {"errorType": "AccessDeniedError", "message": "m"}, Verdict.CREDENTIALS_REFUSED, None),
        (403, {"errorType": "NotAuthorizedError", "message": "m"}, Verdict.CREDENTIALS_REFUSED, None),
        (429, {"errorType": "RequestThrottled", "message": "m"}, Verdict.THROTTLED, 9),
        (500, {"errorType": "Mystery", "message": "m"}, Verdict.UNAVAILABLE, 9),
        (400, {"code": -1, "msg": "m"}, Verdict.UNAVAILABLE, 9),
        (400, {"code": -2, "msg": "m"}, Verdict.REQUEST_REFUSED, None),
        (403, {"code": -3, "msg": "m"}, Verdict.CREDENTIALS_REFUSED, None),
        (403, {"code": -5, "msg": "m"}, Verdict.CREDENTIALS_REFUSED, None),
        (400, {"code": -7, "msg": "m"}, Verdict.UNAVAILABLE, 9),
        (400, {"code": -10, "msg": "m"}, Verdict.THROTTLED, 9),
        (401, {"code": "-401", "msg": "m"}, Verdict.CREDENTIALS_REFUSED, None),
        (503, {"code": -9798, "msg": "m"}, Verdict.UNAVAILABLE, 9),
        (200, {"code": -10, "msg": "m"}, Verdict.THROTTLED, 9),
        (200, {"code": [], "msg": 5}, Verdict.MALFORMED, None),
        (502, {}, Verdict.UNAVAILABLE, 9),
        (200, {}, Verdict.MALFORMED, None),
    ],
)
def test_an_error_of_kakao_is_judged_by_its_name_in_both_shapes(
    status: int, body: object, verdict: Verdict, retry_after: float | None
) -> None:
    judgement = KAKAO.judge(SEARCH, answer(body, status, ("Retry-After", "9")))
    assert (judgement.verdict, judgement.retry_after) == (verdict, retry_after)


def document(**changes: object) -> ApiResponse:
    """An answer of Kakao with one document."""
    plain: dict[str, object] = {"address_name": "전북 익산시 부송동 100", "address_type": "REGION_ADDR"}
    return answer({"meta": {"total_count": 1}, "documents": [{**plain, **changes}]})


@pytest.mark.parametrize(
    "response",
    [
        document(address=[]),
        document(road_address="x"),
        document(address_name=None),
        document(road_address={"zone_no": 54547}),
        answer({"meta": {"total_count": 1}, "documents": None}),
        answer({"meta": None, "documents": []}),
    ],
)
def test_what_is_not_in_the_format_of_kakao_is_malformed(response: ApiResponse) -> None:
    assert KAKAO.judge(SEARCH, response).verdict is Verdict.MALFORMED
    with pytest.raises(ValueError, match="not an answer"):
        KAKAO.read(SEARCH, response)


@pytest.mark.parametrize(
    ("typed", "degrees"),
    [
        ("126.99597295767953", Decimal("126.99597295767953")),
        ("-1.5", Decimal("-1.5")),
        ("180", Decimal(180)),
        ("180.1", None),
        ("", None),
        (".", None),
        ("-", None),
        ("NaN", None),
        ("1e400", None),
        ("²", None),
        (127.0, None),
        (None, None),
    ],
)
def test_a_longitude_is_a_decimal_or_none(typed: object, degrees: Decimal | None) -> None:
    assert KAKAO.read(SEARCH, document(x=typed)).addresses[0].longitude == degrees


@pytest.mark.parametrize(
    ("road", "lot", "kind", "read"),
    [
        (None, None, "REGION", ("", "전북 익산시 부송동 100", "")),
        (None, None, "ROAD", ("전북 익산시 부송동 100", "", "")),
        (
            {"address_name": "전북 익산시 망산길 11", "zone_no": ""},
            None,
            "ROAD",
            ("전북 익산시 망산길 11", "", ""),
        ),
    ],
)
def test_kakao_may_know_only_one_of_the_two_addresses(
    road: object, lot: object, kind: str, read: tuple[str, str, str]
) -> None:
    found = KAKAO.read(SEARCH, document(road_address=road, address=lot, address_type=kind)).addresses[0]
    assert (found.road_address, found.lot_address, found.postal_code) == read


@pytest.mark.fault("CP-05")
@given(
    status=st.integers(-10, 1000),
    body=st.binary() | JSON.map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")),
    operation=st.sampled_from([SEARCH, DETAILS]),
)
@example(status=200, body=b'{"results":' * 50_000, operation=SEARCH)
@example(status=200, body=b'{"code": ' + b"9" * 6000 + b"}", operation=SEARCH)
def test_no_answer_makes_a_provider_raise(status: int, body: bytes, operation: str) -> None:
    response = ApiResponse(status, (), body)
    for provider in (JUSO, KAKAO):
        assert len(provider.judge(operation, response).detail) <= 200


@pytest.mark.fault("CP-05")
@given(data=st.data())
def test_no_answer_with_a_field_of_the_wrong_type_makes_a_provider_raise(data: st.DataObject) -> None:
    """Any value in the place of any field ends in a verdict, and what is called OK can be read."""
    for provider in (JUSO, KAKAO):
        request = provider.request(SEARCH, {"keyword": "테헤란로", "page": 1, "page_size": 3})
        body = json.loads(provider.imitate(request).body)
        spoil(body, data)
        response = answer(body)
        for operation in (SEARCH, DETAILS):
            if provider.judge(operation, response).verdict is Verdict.OK:
                assert isinstance(provider.read(operation, response), AddressPage)


def spoil(body: object, data: st.DataObject) -> None:
    """Put any value in the place of one field, however deep."""
    place = body
    while isinstance(place, (dict, list)) and place:
        key = data.draw(st.sampled_from(list(place) if isinstance(place, dict) else list(range(len(place)))))
        inner = place[key]
        if not isinstance(inner, (dict, list)) or not inner or data.draw(st.booleans()):
            place[key] = data.draw(JSON)
            return
        place = inner


def address(road: str, building_id: str = "") -> Address:
    """An address of which little is known."""
    return Address("", road, f"{road} 번지", "", "", "", building_id, "", "", "", "", "", None, None, "juso")


def test_the_best_match_is_by_building_then_by_exact_text_then_the_first() -> None:
    first, exact, building = address("테헤란로 50"), address("테헤란로 5"), address("테헤란로 500", "B1")
    page = AddressPage((first, exact, building), 3, 1, 10)
    assert page.best_match("테헤란로 5", "B1") is building
    assert page.best_match(" 테헤란로  5", "B2") is exact
    assert page.best_match("테헤란로 5 번지") is exact
    assert page.best_match("모르는 길") is first
    assert AddressPage((), 0, 1, 10).best_match("테헤란로 5") is None


@given(text=st.text())
def test_tidy_text_is_printable_and_has_single_spaces(text: str) -> None:
    tidied = tidy(text)
    assert tidied.isprintable()
    assert tidied == tidied.strip()
    assert "  " not in tidied
