"""juso.go.kr on loopback, by its API guide: `python -m tests.simulators.juso --port 0`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

from tests.simulators.http_server import HttpServer, Received, Reply, serve_from_command_line

KEY = "U01TX0FVVEgyMDI2MTEyNDAwMDAwMDAwMQ=="

_MESSAGES = {
    "0": "정상",
    "-999": "시스템에러",
    "E0001": "승인되지 않은 KEY 입니다.",
    "E0005": "검색어가 입력되지 않았습니다.",
    "E0006": "주소를 상세히 입력해 주시기 바랍니다.",
    "E0008": "검색어는 두글자 이상 입력되어야 합니다.",
    "E0009": "검색어는 문자와 숫자 같이 입력되어야 합니다.",
    "E0010": "검색어가 너무 깁니다. (한글40자, 영문,숫자 80자 이하)",
    "E0011": "검색어에 너무 긴 숫자가 포함되어 있습니다. (숫자10자 이하)",
    "E0012": "특수문자+숫자만으로는 검색이 불가능 합니다.",
    "E0013": "SQL 예약어 또는 특수문자( %,=,>,<,[,] )는 검색이 불가능 합니다.",
    "E0014": "개발승인키 기간이 만료되어 서비스를 이용하실 수 없습니다.",
    "E0015": "검색 범위를 초과하였습니다.",
}
_SQL = re.compile(r"(?i)\b(or|select|insert|delete|update|create|drop|exec|union|fetch|declare|truncate)\b")


class JusoSimulator(HttpServer):
    """Knows NC Tower, thirty buildings of Teheran-ro, and one that is full of spaces."""

    def __init__(self, port: int = 0, key: str = KEY) -> None:
        super().__init__(self._reply, port=port)
        self._key = key
        self._forced: list[str] = []
        self.answers_no_hit_with_null = True

    def give_code(self, code: str, times: int = 1) -> None:
        """Give this error code for the next so many requests, as juso does with E0001 when it is overloaded."""
        self._forced += [code] * times

    def _reply(self, request: Received) -> Reply:
        form = dict(parse_qsl(request.body.decode("utf-8", "replace"), keep_blank_values=True))
        asked = {**request.query, **form}
        if request.path != "/addrlink/addrLinkApi.do":
            return Reply(b"Not Found", 404, (("Content-Type", "text/html"),))
        code = self._forced.pop(0) if self._forced else self._error(asked)
        page, size = asked.get("currentPage", "1"), asked.get("countPerPage", "10")
        hits = _hits(asked.get("keyword", "")) if code == "0" else []
        begin = (int(page) - 1) * int(size)
        common = {
            "errorMessage": _MESSAGES[code],
            "countPerPage": size,
            "totalCount": str(len(hits)),
            "errorCode": code,
            "currentPage": page,
        }
        return self._written(asked.get("resultType", "xml"), common, hits[begin : begin + int(size)])

    def _error(self, asked: Mapping[str, str]) -> str:
        if asked.get("confmKey") != self._key:
            return "E0001"
        if int(asked.get("currentPage", "1")) * int(asked.get("countPerPage", "10")) > 9000:
            return "E0015"
        return _keyword_error(asked.get("keyword", ""))

    def _written(self, kind: str, common: Mapping[str, str], hits: list[dict[str, str]]) -> Reply:
        if kind == "json":
            is_null = not hits and self.answers_no_hit_with_null
            results = {"common": common, "juso": None if is_null else hits}
            text = json.dumps({"results": results}, ensure_ascii=False)
            return Reply(text.encode(), 200, (("Content-Type", "application/json;charset=UTF-8"),))
        text = f"<?xml version='1.0' encoding='UTF-8'?><results><common>{_elements(common)}</common>"
        text += "".join(f"<juso>{_elements(hit)}</juso>" for hit in hits) + "</results>"
        return Reply(text.encode(), 200, (("Content-Type", "application/xml;charset=UTF-8"),))


def _elements(entry: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in entry.items())


def _keyword_error(keyword: str) -> str:
    """The code for a keyword that juso does not search for, else 0."""
    korean = sum(ord(sign) > 127 for sign in keyword)
    rules = {
        "E0005": not keyword.strip(),
        "E0013": bool(re.search(r"[%=><\[\]]", keyword) or _SQL.search(keyword)),
        "E0008": len(keyword.strip()) < 2,
        "E0010": korean > 40 or len(keyword) > 80,
        "E0009": keyword.replace(" ", "").isdigit() and len(keyword) <= 10,
        "E0011": bool(re.search(r"\d{11}", keyword)),
        "E0012": not any(sign.isalpha() for sign in keyword),
        "E0006": keyword.strip() in {"서울특별시", "서울", "강남구", "서울특별시 강남구"},
    }
    return next((code for code, holds in rules.items() if holds), "0")


def _hits(keyword: str) -> list[dict[str, str]]:
    words = keyword.split()
    return [
        building
        for building in _BUILDINGS
        if all(word in f"{building['roadAddr']} {building['jibunAddr']}" for word in words)
    ]


def _building(number: int, **changes: str) -> dict[str, str]:
    part1, part2 = f"서울특별시 강남구 테헤란로 {number}", " (역삼동)"
    entry = {
        "detBdNmList": "",
        "engAddr": f"{number} Teheran-ro, Gangnam-gu, Seoul",
        "rn": "테헤란로",
        "emdNm": "역삼동",
        "zipNo": f"062{number % 100:02}",
        "roadAddrPart2": part2,
        "emdNo": "03",
        "sggNm": "강남구",
        "jibunAddr": f"서울특별시 강남구 역삼동 {600 + number}",
        "siNm": "서울특별시",
        "roadAddrPart1": part1,
        "bdNm": "",
        "admCd": "1168010100",
        "udrtYn": "0",
        "lnbrMnnm": str(600 + number),
        "roadAddr": part1 + part2,
        "lnbrSlno": "0",
        "buldMnnm": str(number),
        "bdKdcd": "0",
        "liNm": "",
        "rnMgtSn": "116803122010",
        "mtYn": "0",
        "bdMgtSn": f"1168010100106{number:04}0000{number:08}",
        "buldSlno": "0",
    }
    return {**entry, **changes}


_NC_TOWER = _building(
    509,
    roadAddr="서울특별시 강남구 테헤란로 509 (삼성동)",
    roadAddrPart2=" (삼성동)",
    jibunAddr="서울특별시 강남구 삼성동 158-16 엔씨타워 I",
    zipNo="06169",
    admCd="1168010500",
    bdMgtSn="1168010500101580016000001",
    bdNm="엔씨타워  I",
    emdNm="삼성동",
    lnbrMnnm="158",
    lnbrSlno="16",
)
_FLATS = _building(
    700,
    roadAddr="서울특별시 강남구  테헤란로 700 (대치동, 한솔아파트)",
    roadAddrPart1="서울특별시 강남구  테헤란로 700 ",
    roadAddrPart2="(대치동, 한솔아파트)",
    jibunAddr="서울특별시 강남구 대치동 900 한솔아파트",
    detBdNmList="101동,102동, 관리동",
    bdNm="한솔아파트",
    bdKdcd="1",
)
_BUILDINGS = [*(_building(2 * index + 101) for index in range(30)), _NC_TOWER, _FLATS]


if __name__ == "__main__":
    serve_from_command_line(JusoSimulator, key=KEY)
