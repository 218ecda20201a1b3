"""Kakao Local, the second source of addresses: how it is asked, judged, read and imitated.

Source: Kakao Developers, Local REST API. It gives coordinates, but neither English nor building numbers, and
its answers do not say which page they are.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping
from decimal import Decimal
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

NAME: Final = "kakao"
MAX_PAGE_SIZE = 30
MAX_PAGE = 45
MAX_PAGEABLE = 45
"""However many there are, Kakao shows no more than these."""

_BY_ERROR_TYPE = {
    "MissingParameter": Verdict.REQUEST_REFUSED,
    "AccessDeniedError": Verdict.CREDENTIALS_REFUSED,
    "NotAuthorizedError": Verdict.CREDENTIALS_REFUSED,
    "RequestThrottled": Verdict.THROTTLED,
}
_BY_CODE = {
    "-1": Verdict.UNAVAILABLE,
    "-2": Verdict.REQUEST_REFUSED,
    "-3": Verdict.CREDENTIALS_REFUSED,
    "-5": Verdict.CREDENTIALS_REFUSED,
    "-7": Verdict.UNAVAILABLE,
    "-10": Verdict.THROTTLED,
    "-401": Verdict.CREDENTIALS_REFUSED,
    "-9798": Verdict.UNAVAILABLE,
}
_LOT_TEXTS = ("address_name", "region_1depth_name", "region_2depth_name", "region_3depth_name", "b_code")
_ROAD_TEXTS = (
    "address_name",
    "region_1depth_name",
    "region_2depth_name",
    "region_3depth_name",
    "road_name",
    "building_name",
    "zone_no",
)


class KakaoProvider:
    """Speaks the wire format of Kakao Local."""

    def __init__(self, config: ProviderConfig) -> None:
        self._url = f"{config.base_url}/v2/local/search/address.json"
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
        """A search is by likeness, details by the exact text. Page and size are held to what Kakao allows."""
        keyword = tidy(unicodedata.normalize("NFC", str(params["keyword"])))
        if operation == "get_address_details":
            return self._search(keyword, 1, 10, "exact")
        page = min(int(params.get("page", 1)), MAX_PAGE)
        page_size = min(int(params.get("page_size", 10)), MAX_PAGE_SIZE)
        return self._search(keyword, page, page_size, "similar")

    def health_request(self) -> ApiRequest:
        return self._search("세종대로 110", 1, 1, "similar")

    def _search(self, keyword: str, page: int, page_size: int, analyze_type: str) -> ApiRequest:
        params = (
            ("query", keyword),
            ("analyze_type", analyze_type),
            ("page", str(page)),
            ("size", str(page_size)),
        )
        return ApiRequest("GET", self._url, params, (("Authorization", f"KakaoAK {self._key}"),))

    def judge(self, operation: str, response: ApiResponse) -> Judgement:
        return heed_headers(self._judged(operation, response), response)

    def _judged(self, operation: str, response: ApiResponse) -> Judgement:
        body = read_object(response) or {}
        told = _judge_error(body, response)
        if told is not None:
            return told
        page = _page(body)
        if response.status != 200 or page is None:  # noqa: PLR2004 -- only a success may say that all is well.
            return judge_status(response)
        if operation == "get_address_details" and not page.addresses:
            return Judgement(Verdict.NOT_FOUND, "no such address")
        return Judgement(Verdict.OK)

    def read(self, operation: str, response: ApiResponse) -> AddressPage:  # noqa: ARG002 -- both answer alike.
        """The addresses found. Raises `ValueError` for a response that `judge` did not call OK."""
        page = _page(read_object(response) or {})
        if page is None:
            raise ValueError("this is not an answer of Kakao")
        return page

    def imitate(self, request: ApiRequest) -> ApiResponse:
        asked = dict(request.params)
        keyword = asked.get("query", "")
        if not keyword:
            return _answer(400, {"errorType": "MissingParameter", "message": "query parameter required"})
        page, size = int(asked.get("page", "1")), int(asked.get("size", "10"))
        total = gazetteer.places(keyword)
        pageable = min(total, MAX_PAGEABLE)
        indexes = range((page - 1) * size, min(page * size, pageable))
        meta = {"total_count": total, "pageable_count": pageable, "is_end": page * size >= pageable}
        found = [_imagined(gazetteer.place(keyword, index)) for index in indexes]
        return _answer(200, {"meta": meta, "documents": found})


def _answer(status: int, body: Mapping[str, object]) -> ApiResponse:
    return ApiResponse(status, (("Content-Type", "application/json;charset=UTF-8"),), orjson.dumps(body))


def _judge_error(body: Mapping[str, object], response: ApiResponse) -> Judgement | None:
    """What an error in either of Kakao's shapes means; None when the body tells of none.

    An error of a name that is not known is judged by the status.
    """
    for name, words, verdicts in (("errorType", "message", _BY_ERROR_TYPE), ("code", "msg", _BY_CODE)):
        if name not in body:
            continue
        code = str(body[name])[:40] if isinstance(body[name], (str, int)) else ""
        verdict = verdicts.get(code) or judge_status(response).verdict
        return Judgement(verdict, detail_of(code, body.get(words)))
    return None


def _page(body: Mapping[str, object]) -> AddressPage | None:
    meta, documents = as_object(body.get("meta")), as_objects(body.get("documents"))
    total = None if meta is None else count_of(meta, "total_count")
    addresses = [_address(document) for document in documents or ()]
    known = tuple(address for address in addresses if address is not None)
    if total is None or documents is None or len(known) != len(addresses):
        return None
    return AddressPage(known, total, page=0, page_size=0)


def _address(document: Mapping[str, object]) -> Address | None:
    """One document, or None when a field is of the wrong type. `address` or `road_address` may be null."""
    road = _texts(document.get("road_address"), _ROAD_TEXTS)
    lot = _texts(document.get("address"), _LOT_TEXTS)
    whole = text_of(document, "address_name")
    if road is None or lot is None or not whole:
        return None
    regions = road if road["address_name"] else lot
    is_road = text_of(document, "address_type") in {"ROAD", "ROAD_ADDR"}
    return Address(
        postal_code=road["zone_no"],
        road_address=road["address_name"] or (whole if is_road else ""),
        lot_address=lot["address_name"] or ("" if is_road else whole),
        detailed_address=road["building_name"] or regions["region_3depth_name"],
        english_address="",
        building_name=road["building_name"],
        building_id="",
        legal_dong_code=lot["b_code"],
        province=regions["region_1depth_name"],
        district=regions["region_2depth_name"],
        town=regions["region_3depth_name"],
        road_name=road["road_name"],
        longitude=_degrees(document.get("x"), 180),
        latitude=_degrees(document.get("y"), 90),
        provider=NAME,
    )


def _texts(value: object, names: tuple[str, ...]) -> dict[str, str] | None:
    """The texts under `names`, each "" when `value` is null; None when something is of the wrong type."""
    entry: Mapping[str, object] | None = {} if value is None else as_object(value)
    if entry is None:
        return None
    texts = {name: text for name in names if (text := text_of(entry, name)) is not None}
    return texts if len(texts) == len(names) else None


def _degrees(value: object, limit: int) -> Decimal | None:
    """A coordinate, or None when it is missing or no place on earth."""
    digits = value if isinstance(value, str) else ""
    if not digits.isascii() or not digits.removeprefix("-").replace(".", "", 1).isdigit() or len(digits) > 40:  # noqa: PLR2004 -- far beyond any precision.
        return None
    degrees = Decimal(digits)
    return degrees if abs(degrees) <= limit else None


def _imagined(place: gazetteer.Place) -> dict[str, object]:
    """The place in the words of Kakao."""
    street = place.street
    main, _, sub = place.number.partition("-")
    lot_main, _, lot_sub = place.lot.partition("-")
    area = tidy(f"{street.short_province} {street.district}")
    regions = {
        "region_1depth_name": street.short_province,
        "region_2depth_name": street.district,
        "region_3depth_name": street.town,
        "x": place.longitude,
        "y": place.latitude,
    }
    lot = {
        **regions,
        "address_name": f"{area} {street.town} {place.lot}",
        "region_3depth_h_name": street.town,
        "h_code": street.legal_dong_code,
        "b_code": street.legal_dong_code,
        "mountain_yn": "N",
        "main_address_no": lot_main,
        "sub_address_no": lot_sub,
    }
    road = {
        **regions,
        "address_name": f"{area} {place.road} {place.number}",
        "road_name": place.road,
        "underground_yn": "N",
        "main_building_no": main,
        "sub_building_no": sub,
        "building_name": place.building,
        "zone_no": place.postal_code,
    }
    return {
        "address_name": road["address_name"],
        "address_type": "ROAD_ADDR",
        "x": place.longitude,
        "y": place.latitude,
        "address": lot,
        "road_address": road,
    }
