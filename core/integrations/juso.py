"""juso.go.kr, the state's road-name address search: how it is asked, judged, read and imitated.

Source: the API guide of juso.go.kr (addrLinkApi). Every error comes as HTTP 200, every number as a text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping
from typing import Final

import orjson

from core.client.provider import Params
from core.config.integration import ProviderConfig
from core.integrations import gazetteer
from core.integrations.http_answer import (
    as_object,
    as_objects,
    count_of,
    detail_of,
    heed_headers,
    judge_status,
    read_object,
    text_of,
)
from core.model.address import Address, AddressPage, tidy
from core.model.message import ApiRequest, ApiResponse
from core.model.verdict import Judgement, Verdict

NAME: Final = "juso"
MAX_PAGE_SIZE = 100
MAX_RANGE = 9000
"""Page times page size may not be more than this."""

_FORBIDDEN_SIGNS = re.compile(r"[%=><\[\]]")
_FORBIDDEN_WORDS = re.compile(
    r"(?<![A-Za-z0-9_])"
    r"(OR|SELECT|INSERT|DELETE|UPDATE|CREATE|DROP|EXEC|UNION|FETCH|DECLARE|TRUNCATE)"
    r"(?![A-Za-z0-9_])",
    re.IGNORECASE | re.ASCII,
)
_REFUSED_KEYWORD = {"E0005", "E0006", "E0008", "E0009", "E0010", "E0011", "E0012", "E0013", "E0015"}
_TEXTS = (
    "roadAddr",
    "roadAddrPart1",
    "roadAddrPart2",
    "jibunAddr",
    "engAddr",
    "zipNo",
    "admCd",
    "bdMgtSn",
    "detBdNmList",
    "bdNm",
    "siNm",
    "sggNm",
    "emdNm",
    "rn",
)


def clean_keyword(text: str) -> str:
    """`text` without what juso refuses (the signs `% = > < [ ]`, the words of SQL), composed (NFC) and tidied.

    Cleaning twice changes nothing more.
    """
    signs_gone = _FORBIDDEN_SIGNS.sub(" ", tidy(unicodedata.normalize("NFC", text)))
    return tidy(_FORBIDDEN_WORDS.sub(" ", signs_gone))


class JusoProvider:
    """Speaks the wire format of juso.go.kr."""

    def __init__(self, config: ProviderConfig) -> None:
        self._url = f"{config.base_url}/addrlink/addrLinkApi.do"
        self._key = "" if config.api_key is None else config.api_key.get_secret_value()

    @property
    def name(self) -> str:
        return NAME

    def request(
        self,
        operation: str,
        params: Params,
        *,
        idempotency_key: str | None = None,  # noqa: ARG002 -- a search changes nothing: it needs no key.
    ) -> ApiRequest:
        """Both operations are the one search that juso has; details look at its first ten hits."""
        keyword = clean_keyword(str(params["keyword"]))
        if operation == "get_address_details":
            return self._search(keyword, 1, 10)
        return self._search(keyword, int(params.get("page", 1)), int(params.get("page_size", 10)))

    def health_request(self) -> ApiRequest:
        return self._search("세종대로 110", 1, 1)

    def _search(self, keyword: str, page: int, page_size: int) -> ApiRequest:
        params = (
            ("confmKey", self._key),
            ("keyword", keyword),
            ("currentPage", str(page)),
            ("countPerPage", str(page_size)),
            ("resultType", "json"),
        )
        return ApiRequest("GET", self._url, params)

    def judge(self, operation: str, response: ApiResponse) -> Judgement:
        return heed_headers(self._judged(operation, response), response)

    def _judged(self, operation: str, response: ApiResponse) -> Judgement:
        results = _results(response)
        common = None if results is None else as_object(results.get("common"))
        code = None if common is None else text_of(common, "errorCode")
        if common is None or not code:
            return judge_status(response)
        if code != "0":
            return _judge_code(code, detail_of(code, common.get("errorMessage")))
        if response.status != 200:  # noqa: PLR2004 -- only a success may say that all is well.
            return judge_status(response)
        page = _page(results)
        if page is None:
            return Judgement(Verdict.MALFORMED, "the addresses are not in the format of juso")
        if operation == "get_address_details" and not page.addresses:
            return Judgement(Verdict.NOT_FOUND, "no such address")
        return Judgement(Verdict.OK)

    def read(self, operation: str, response: ApiResponse) -> AddressPage:  # noqa: ARG002 -- both answer alike.
        """The addresses found. Raises `ValueError` for a response that `judge` did not call OK."""
        page = _page(_results(response))
        if page is None:
            raise ValueError("this is not an answer of juso")
        return page

    def imitate(self, request: ApiRequest) -> ApiResponse:
        asked = dict(request.params)
        keyword = asked.get("keyword", "")
        page, size = int(asked.get("currentPage", "1")), int(asked.get("countPerPage", "10"))
        total = gazetteer.places(keyword)
        common = {
            "totalCount": str(total),
            "currentPage": str(page),
            "countPerPage": str(size),
            "errorCode": "0" if total else "E0005",
            "errorMessage": "정상" if total else "검색어가 입력되지 않았습니다.",
        }
        indexes = range((page - 1) * size, min(page * size, total))
        found = [_imagined(gazetteer.place(keyword, index)) for index in indexes]
        body = orjson.dumps({"results": {"common": common, "juso": found or None}})
        return ApiResponse(200, (("Content-Type", "application/json;charset=UTF-8"),), body)


def _results(response: ApiResponse) -> Mapping[str, object] | None:
    return as_object((read_object(response) or {}).get("results"))


def _judge_code(code: str, detail: str) -> Judgement:
    """What an error code means. E0001 is doubtful: an overloaded juso gives it to valid keys, too."""
    if code in _REFUSED_KEYWORD:
        return Judgement(Verdict.REQUEST_REFUSED, detail)
    if code in {"E0001", "E0014"}:
        return Judgement(Verdict.CREDENTIALS_REFUSED, detail, is_doubtful=code == "E0001")
    return Judgement(Verdict.UNAVAILABLE, detail)


def _page(results: Mapping[str, object] | None) -> AddressPage | None:
    common = None if results is None else as_object(results.get("common"))
    if results is None or common is None:
        return None
    counts = [count_of(common, name) for name in ("totalCount", "currentPage", "countPerPage")]
    entries = () if results.get("juso") is None else as_objects(results.get("juso"))
    addresses = [_address(entry) for entry in entries or ()]
    known = tuple(address for address in addresses if address is not None)
    total, page, size = counts
    if entries is None or total is None or page is None or size is None or len(known) != len(addresses):
        return None
    return AddressPage(known, total, page, size)


def _address(entry: Mapping[str, object]) -> Address | None:
    """One entry, or None when a field is not a text or there is no road address at all."""
    texts = {name: text for name in _TEXTS if (text := text_of(entry, name)) is not None}
    if len(texts) != len(_TEXTS) or not (texts["roadAddrPart1"] or texts["roadAddr"]):
        return None
    reference = texts["roadAddrPart2"].strip("() ")
    return Address(
        postal_code=texts["zipNo"],
        road_address=texts["roadAddrPart1"] or texts["roadAddr"],
        lot_address=texts["jibunAddr"],
        detailed_address=texts["detBdNmList"] or texts["bdNm"] or reference,
        english_address=texts["engAddr"],
        building_name=texts["bdNm"],
        building_id=texts["bdMgtSn"],
        legal_dong_code=texts["admCd"],
        province=texts["siNm"],
        district=texts["sggNm"],
        town=texts["emdNm"],
        road_name=texts["rn"],
        longitude=None,
        latitude=None,
        provider=NAME,
    )


def _imagined(place: gazetteer.Place) -> dict[str, str]:
    """The place in the words of juso."""
    street = place.street
    main, _, sub = place.number.partition("-")
    lot_main, _, lot_sub = place.lot.partition("-")
    area = tidy(f"{street.province} {street.district}")
    part1 = f"{area} {place.road} {place.number}"
    part2 = f" ({', '.join(name for name in (street.town, place.building) if name)})"
    return {
        "roadAddr": part1 + part2,
        "roadAddrPart1": part1,
        "roadAddrPart2": part2,
        "jibunAddr": tidy(f"{area} {street.town} {place.lot} {place.building}"),
        "engAddr": _in_english(place),
        "zipNo": place.postal_code,
        "admCd": street.legal_dong_code,
        "rnMgtSn": f"{street.legal_dong_code[:5]}{place.building_id[-7:]}",
        "bdMgtSn": place.building_id,
        "detBdNmList": "",
        "bdNm": place.building,
        "bdKdcd": "1" if place.building.endswith("아파트") else "0",
        "siNm": street.province,
        "sggNm": street.district,
        "emdNm": street.town,
        "liNm": "",
        "rn": place.road,
        "udrtYn": "0",
        "buldMnnm": main,
        "buldSlno": sub or "0",
        "mtYn": "0",
        "lnbrMnnm": lot_main,
        "lnbrSlno": lot_sub or "0",
        "emdNo": "01",
    }


def _in_english(place: gazetteer.Place) -> str:
    districts = [gazetteer.romanised(part) for part in reversed(place.street.district.split())]
    province = re.sub("(특별자치도|특별자치시|특별시|광역시)$", "", place.street.province)
    road = f"{place.number} {gazetteer.romanised(place.road)}"
    return ", ".join([road, *districts, gazetteer.romanised(province)])
