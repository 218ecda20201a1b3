"""Kakao Local on loopback, by its developers' guide: `python -m tests.simulators.kakao --port 0`."""

from __future__ import annotations

import json
from collections.abc import Mapping

from tests.simulators.http_server import HttpServer, Received, Reply, serve_from_command_line

KEY = "9f8e7d6c5b4a39281706f5e4d3c2b1a0"


class KakaoSimulator(HttpServer):
    """Knows sixty buildings of Teheran-ro, the street itself, a lot without a road and the guide's own sample."""

    def __init__(self, port: int = 0, key: str = KEY) -> None:
        super().__init__(self._reply, port=port)
        self._key = key
        self._quota: int | None = None

    def allow_only(self, count: int) -> None:
        """Answer so many more requests, then 429."""
        self._quota = count

    def _reply(self, request: Received) -> Reply:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        page, size = int(request.query.get("page", "1")), int(request.query.get("size", "10"))
        if not 1 <= page <= 45 or not 1 <= size <= 30:
            return _written(400, {"code": -2, "msg": "page or size is out of range"})
        hits = _hits(request.query["query"], exact=request.query.get("analyze_type") == "exact")
        shown = hits[:45][(page - 1) * size : page * size]
        meta = {
            "total_count": len(hits),
            "pageable_count": min(len(hits), 45),
            "is_end": page * size >= min(len(hits), 45),
        }
        return _written(200, {"documents": shown, "meta": meta})

    def _refusal(self, request: Received) -> Reply | None:
        if request.path != "/v2/local/search/address.json":
            return Reply(b"", 404, ())
        if request.headers.get("authorization") != f"KakaoAK {self._key}":
            return _told(401, "AccessDeniedError", "wrong appKey(null) format")
        if self._quota is not None:
            self._quota -= 1
            if self._quota < 0:
                return _told(429, "RequestThrottled", "API limit has been exceeded.")
        if not request.query.get("query"):
            return _told(400, "MissingParameter", "query parameter required")
        return None


def _told(status: int, kind: str, message: str) -> Reply:
    return _written(status, {"errorType": kind, "message": message})


def _written(status: int, body: Mapping[str, object]) -> Reply:
    text = json.dumps(body, ensure_ascii=False)
    return Reply(text.encode(), status, (("Content-Type", "application/json;charset=UTF-8"),))


def _hits(query: str, *, exact: bool) -> list[dict[str, object]]:
    if exact:
        return [document for document in _DOCUMENTS if str(document["address_name"]) == query]
    return [document for document in _DOCUMENTS if all(word in _names(document) for word in query.split())]


def _names(document: Mapping[str, object]) -> str:
    """What a query is looked for in."""
    parts = (document["address"], document["road_address"])
    named = [
        str(part[name]) for part in parts if isinstance(part, dict) for name in part if name.endswith("_name")
    ]
    return " ".join([str(document["address_name"]), *named])


_REGIONS = {"region_1depth_name": "서울", "region_2depth_name": "강남구", "region_3depth_name": "역삼동"}


def _document(kind: str, name: str, address: object, road_address: object) -> dict[str, object]:
    return {
        "address": address,
        "address_name": name,
        "address_type": kind,
        "road_address": road_address,
        "x": "127.036508620542",
        "y": "37.5006570390142",
    }


def _lot(number: int) -> dict[str, str]:
    return {
        **_REGIONS,
        "address_name": f"서울 강남구 역삼동 {number}",
        "b_code": "1168010100",
        "h_code": "1168064000",
        "main_address_no": str(number),
        "mountain_yn": "N",
        "region_3depth_h_name": "역삼동",
        "sub_address_no": "",
        "x": "127.036508620542",
        "y": "37.5006570390142",
    }


def _road(name: str, number: str, zone: str, building: str = "") -> dict[str, str]:
    return {
        **_REGIONS,
        "address_name": name,
        "building_name": building,
        "main_building_no": number,
        "road_name": "테헤란로",
        "sub_building_no": "",
        "underground_yn": "N",
        "x": "127.036508620542",
        "y": "37.5006570390142",
        "zone_no": zone,
    }


def _teheran_ro(number: int) -> dict[str, object]:
    name = f"서울 강남구 테헤란로 {number}"
    return _document("ROAD_ADDR", name, _lot(600 + number), _road(name, str(number), f"062{number % 100:02}"))


_TOWER = _document(
    "ROAD_ADDR",
    "서울 강남구 테헤란로 152",
    _lot(737),
    _road("서울 강남구 테헤란로 152", "152", "06236", "강남파이낸스센터"),
)
_STREET = _document("ROAD", "서울 강남구 테헤란로", None, _road("서울 강남구 테헤란로", "", ""))
_LOT = _document(
    "REGION_ADDR",
    "서울 강남구 역삼동 산 1",
    {**_lot(1), "address_name": "서울 강남구 역삼동 산 1", "mountain_yn": "Y"},
    None,
)
_DOCUMENTS = [_TOWER, _STREET, _LOT, *(_teheran_ro(2 * index + 301) for index in range(60))]


if __name__ == "__main__":
    serve_from_command_line(KakaoSimulator, key=KEY)
