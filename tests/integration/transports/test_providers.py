"""Each provider against its simulator over real connections: every trait that breaks a naive client."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal

import pytest
from pydantic import SecretStr

from core.client.provider import Params, Provider
from core.clock import SystemClock
from core.config.integration import ProviderConfig
from core.integrations.juso import JusoProvider
from core.integrations.kakao import KakaoProvider
from core.model.address import AddressPage
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement, Verdict
from core.transports.http import HttpTransport
from tests.simulators.juso import KEY as JUSO_KEY
from tests.simulators.juso import JusoSimulator
from tests.simulators.kakao import KEY as KAKAO_KEY
from tests.simulators.kakao import KakaoSimulator

SEARCH, DETAILS = "search_address", "get_address_details"


class Line:
    """A provider with a way out to its simulator."""

    def __init__(self, provider: Provider[AddressPage], transport: HttpTransport) -> None:
        self._provider = provider
        self._transport = transport

    def ask(self, operation: str = SEARCH, **params: str | int) -> tuple[Judgement, ApiResponse]:
        """What an answer amounts to, and the answer."""
        asked: Params = params
        return self.send(operation, self._provider.request(operation, asked))

    def send(self, operation: str, request: ApiRequest) -> tuple[Judgement, ApiResponse]:
        """The same for a request that is already made."""
        response = self._transport.send(request, 10)
        return self._provider.judge(operation, response), response

    def find(self, operation: str = SEARCH, **params: str | int) -> AddressPage:
        """The addresses of an answer that is well."""
        judgement, response = self.ask(operation, **params)
        assert judgement == Judgement(Verdict.OK)
        return self._provider.read(operation, response)


@pytest.fixture
def transport() -> Iterator[HttpTransport]:
    """A way out on the machine's own clock."""
    way_out = HttpTransport(SystemClock())
    yield way_out
    way_out.close()


@pytest.fixture
def juso_simulator() -> Iterator[JusoSimulator]:
    """juso on loopback."""
    with JusoSimulator() as running:
        yield running


@pytest.fixture
def kakao_simulator() -> Iterator[KakaoSimulator]:
    """Kakao on loopback."""
    with KakaoSimulator() as running:
        yield running


def juso_at(url: str, key: str = JUSO_KEY) -> JusoProvider:
    """juso with a key."""
    return JusoProvider(ProviderConfig(name="juso", base_url=url, api_key=SecretStr(key)))


def kakao_at(url: str, key: str = KAKAO_KEY) -> KakaoProvider:
    """Kakao with a key."""
    return KakaoProvider(ProviderConfig(name="kakao", base_url=url, api_key=SecretStr(key)))


@pytest.fixture
def juso(juso_simulator: JusoSimulator, transport: HttpTransport) -> Line:
    """A line to juso."""
    return Line(juso_at(juso_simulator.url), transport)


@pytest.fixture
def kakao(kakao_simulator: KakaoSimulator, transport: HttpTransport) -> Line:
    """A line to Kakao."""
    return Line(kakao_at(kakao_simulator.url), transport)


def test_an_address_of_juso_is_read_in_full(juso: Line) -> None:
    page = juso.find(keyword="테헤란로 509")
    assert (page.total_count, page.page, page.page_size) == (1, 1, 10)
    found = page.addresses[0]
    assert found.postal_code == "06169"
    assert found.road_address == "서울특별시 강남구 테헤란로 509"
    assert found.lot_address == "서울특별시 강남구 삼성동 158-16 엔씨타워 I"
    assert found.english_address == "509 Teheran-ro, Gangnam-gu, Seoul"
    assert (found.building_name, found.building_id) == ("엔씨타워 I", "1168010500101580016000001")
    assert (found.province, found.district, found.town) == ("서울특별시", "강남구", "삼성동")
    assert (found.legal_dong_code, found.road_name) == ("1168010500", "테헤란로")
    assert (found.longitude, found.latitude, found.provider) == (None, None, "juso")


def test_pages_of_juso_follow_one_another(juso: Line) -> None:
    pages = [juso.find(keyword="강남구 테헤란로", page=page, page_size=10) for page in range(1, 6)]
    assert [len(page.addresses) for page in pages] == [10, 10, 10, 2, 0]
    assert {page.total_count for page in pages} == {32}
    assert len({address.building_id for page in pages for address in page.addresses}) == 32


@pytest.mark.parametrize("is_null", [True, False], ids=["null", "an empty list"])
def test_no_hit_at_juso_is_an_empty_page(juso: Line, juso_simulator: JusoSimulator, *, is_null: bool) -> None:
    juso_simulator.answers_no_hit_with_null = is_null
    assert juso.find(keyword="없는길 1").addresses == ()
    assert juso.ask(DETAILS, keyword="없는길 1")[0].verdict is Verdict.NOT_FOUND


def test_the_details_of_juso_are_the_one_best_match(juso: Line) -> None:
    page = juso.find(DETAILS, keyword="서울특별시 강남구 테헤란로 509")
    found = page.best_match("서울특별시 강남구 테헤란로 509")
    assert found is not None
    assert found.building_name == "엔씨타워 I"


@pytest.mark.fault("CP-09")
def test_a_key_that_juso_does_not_know_is_doubtful(
    juso_simulator: JusoSimulator, transport: HttpTransport
) -> None:
    judgement, response = Line(juso_at(juso_simulator.url, "wrong"), transport).ask(keyword="테헤란로")
    assert response.status == 200
    assert (judgement.verdict, judgement.is_doubtful) == (Verdict.CREDENTIALS_REFUSED, True)


@pytest.mark.fault("CP-09")
def test_an_overloaded_juso_refuses_a_good_key_for_a_while(juso: Line, juso_simulator: JusoSimulator) -> None:
    juso_simulator.give_code("E0001", times=2)
    told = [juso.ask(keyword="테헤란로 509")[0] for _ in range(3)]
    assert [judgement.is_doubtful for judgement in told] == [True, True, False]
    assert told[2].verdict is Verdict.OK


@pytest.mark.fault("CP-09")
def test_a_system_error_of_juso_is_an_illness_though_the_status_is_200(
    juso: Line, juso_simulator: JusoSimulator
) -> None:
    juso_simulator.give_code("-999")
    judgement, response = juso.ask(keyword="테헤란로")
    assert (response.status, judgement.verdict) == (200, Verdict.UNAVAILABLE)
    assert judgement.detail == "-999 시스템에러"


@pytest.mark.fault("CP-09")
@pytest.mark.parametrize(
    ("keyword", "code"),
    [
        ("", "E0005"),
        ("서울특별시", "E0006"),
        ("가", "E0008"),
        ("12345", "E0009"),
        ("가" * 41, "E0010"),
        ("번지 123456789012", "E0011"),
        ("12-34", "E0012"),
    ],
)
def test_a_keyword_that_juso_refuses_is_the_callers_mistake(juso: Line, keyword: str, code: str) -> None:
    judgement, response = juso.ask(keyword=keyword)
    assert (response.status, judgement.verdict) == (200, Verdict.REQUEST_REFUSED)
    assert judgement.detail.startswith(f"{code} ")


def test_a_range_beyond_9000_is_the_callers_mistake(juso: Line) -> None:
    judgement, _ = juso.ask(keyword="테헤란로", page=91, page_size=100)
    assert judgement.detail.startswith("E0015")
    assert juso.find(keyword="테헤란로", page=90, page_size=100).addresses == ()


def test_what_juso_forbids_in_a_keyword_never_reaches_it(juso: Line, juso_simulator: JusoSimulator) -> None:
    assert len(juso.find(keyword="테헤란로 [509] or %").addresses) == 1
    assert juso_simulator.requests[0].query["keyword"] == "테헤란로 509"


def test_an_answer_in_xml_is_malformed(juso_simulator: JusoSimulator, transport: HttpTransport) -> None:
    """juso answers so when it is not asked for JSON."""
    provider = juso_at(juso_simulator.url)
    asked = provider.request(SEARCH, {"keyword": "테헤란로 509"})
    params = tuple(pair for pair in asked.params if pair[0] != "resultType")
    judgement, response = Line(provider, transport).send(SEARCH, ApiRequest("GET", asked.url, params))
    assert response.body.startswith(b"<?xml")
    assert judgement.verdict is Verdict.MALFORMED


def test_a_page_of_maintenance_is_malformed(juso: Line, juso_simulator: JusoSimulator) -> None:
    juso_simulator.fail_with(200, headers=(("Content-Type", "text/html"),), body=b"<html>down</html>")
    assert juso.ask(keyword="테헤란로")[0].verdict is Verdict.MALFORMED


@pytest.mark.fault("CP-08")
def test_a_throttled_answer_carries_the_time_to_wait(juso: Line, juso_simulator: JusoSimulator) -> None:
    juso_simulator.fail_with(429, headers=(("Retry-After", "7"),))
    throttled = Judgement(Verdict.THROTTLED, "HTTP 429", retry_after=7, pause_s=7, nothing_accepted=True)
    assert juso.ask(keyword="테헤란로")[0] == throttled
    juso_simulator.fail_with(503)
    assert juso.ask(keyword="테헤란로")[0] == Judgement(Verdict.UNAVAILABLE, "HTTP 503")
    juso_simulator.recover()
    assert juso.ask(keyword="테헤란로")[0].verdict is Verdict.OK


def test_an_address_of_kakao_is_read_in_full(kakao: Line) -> None:
    page = kakao.find(keyword="테헤란로 152")
    found = page.addresses[0]
    assert (found.postal_code, found.road_address) == ("06236", "서울 강남구 테헤란로 152")
    assert (found.lot_address, found.building_name) == ("서울 강남구 역삼동 737", "강남파이낸스센터")
    assert (found.province, found.district, found.town) == ("서울", "강남구", "역삼동")
    assert (found.legal_dong_code, found.road_name) == ("1168010100", "테헤란로")
    assert (found.longitude, found.latitude) == (Decimal("127.036508620542"), Decimal("37.5006570390142"))
    assert (found.english_address, found.building_id, found.provider) == ("", "", "kakao")


def test_kakao_shows_forty_five_of_what_it_finds(kakao: Line) -> None:
    pages = [kakao.find(keyword="강남구", page=page, page_size=30) for page in (1, 2, 3)]
    assert [len(page.addresses) for page in pages] == [30, 15, 0]
    assert {page.total_count for page in pages} == {63}


def test_a_street_at_kakao_has_no_lot_address_and_no_postal_code(kakao: Line) -> None:
    page = kakao.find(DETAILS, keyword="서울 강남구 테헤란로")
    assert len(page.addresses) == 1
    found = page.addresses[0]
    assert (found.postal_code, found.lot_address) == ("", "")
    assert found.road_address == "서울 강남구 테헤란로"


def test_a_lot_at_kakao_may_have_no_road_address(kakao: Line) -> None:
    found = kakao.find(DETAILS, keyword="서울 강남구 역삼동 산 1").addresses[0]
    assert (found.road_address, found.lot_address) == ("", "서울 강남구 역삼동 산 1")
    assert (found.province, found.detailed_address) == ("서울", "역삼동")


def test_no_hit_at_kakao_is_an_empty_page(kakao: Line) -> None:
    assert kakao.find(keyword="없는길 1").addresses == ()
    assert kakao.ask(DETAILS, keyword="없는길 1")[0].verdict is Verdict.NOT_FOUND


def test_a_page_beyond_what_kakao_allows_is_held_to_it(kakao: Line) -> None:
    assert kakao.find(keyword="강남구", page=46, page_size=100).addresses == ()


def test_a_key_that_kakao_does_not_know_is_refused(
    kakao_simulator: KakaoSimulator, transport: HttpTransport
) -> None:
    judgement, _ = Line(kakao_at(kakao_simulator.url, "wrong"), transport).ask(keyword="테헤란로")
    assert judgement == Judgement(
        Verdict.CREDENTIALS_REFUSED, "AccessDeniedError wrong appKey(null) format", nothing_accepted=True
    )


def test_a_used_up_quota_of_kakao_is_throttling(kakao: Line, kakao_simulator: KakaoSimulator) -> None:
    kakao_simulator.allow_only(1)
    told = [kakao.ask(keyword="테헤란로 152")[0] for _ in range(2)]
    assert [judgement.verdict for judgement in told] == [Verdict.OK, Verdict.THROTTLED]
    assert told[1].detail == "RequestThrottled API limit has been exceeded."


def test_a_good_answer_tells_that_the_limit_is_used_up(
    juso: Line, juso_simulator: JusoSimulator, kakao: Line, kakao_simulator: KakaoSimulator
) -> None:
    for line, simulator in ((juso, juso_simulator), (kakao, kakao_simulator)):
        simulator.add_headers(("RateLimit", '"permin";r=0;t=23'))
        judgement, _ = line.ask(keyword="테헤란로")
        assert judgement == Judgement(Verdict.OK, pause_s=23)


def test_a_missing_keyword_is_refused_by_kakao(kakao: Line) -> None:
    assert kakao.ask(keyword=" ")[0].detail == "MissingParameter query parameter required"


def test_maintenance_of_kakao_is_an_illness(kakao: Line, kakao_simulator: KakaoSimulator) -> None:
    kakao_simulator.fail_with(503, body=b'{"code": -9798, "msg": "maintenance"}')
    assert kakao.ask(keyword="테헤란로")[0] == Judgement(Verdict.UNAVAILABLE, "-9798 maintenance")


@pytest.mark.parametrize("which", ["juso", "kakao"])
def test_the_health_request_finds_both_providers_well(
    which: str, juso_simulator: JusoSimulator, kakao_simulator: KakaoSimulator, transport: HttpTransport
) -> None:
    providers: dict[str, Provider[AddressPage]] = {
        "juso": juso_at(juso_simulator.url),
        "kakao": kakao_at(kakao_simulator.url),
    }
    provider = providers[which]
    assert Line(provider, transport).send(SEARCH, provider.health_request())[0].verdict is Verdict.OK


@pytest.mark.parametrize("which", ["juso", "kakao"])
def test_a_simulator_runs_from_the_command_line(which: str, transport: HttpTransport) -> None:
    command = [sys.executable, "-m", f"tests.simulators.{which}", "--port", "0", "--key", "a-key"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            provider: Provider[AddressPage] = (
                juso_at(url, "a-key") if which == "juso" else kakao_at(url, "a-key")
            )
            assert Line(provider, transport).find(keyword="테헤란로 101").addresses is not None
        finally:
            process.terminate()
