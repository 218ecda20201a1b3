"""A small gazetteer of Korean streets, from which mocks imagine addresses that follow the keyword."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Street:
    """A real street, its neighbourhood's code and postal area, and where it lies (degrees)."""

    province: str
    short_province: str
    district: str
    town: str
    road: str
    legal_dong_code: str
    postal_area: str
    longitude: float
    latitude: float

    @property
    def names(self) -> str:
        """All its names, as an address would spell them."""
        return f"{self.area} {self.road}"

    @property
    def area(self) -> str:
        """All its names but its own."""
        return f"{self.province} {self.district} {self.town}"


@dataclass(frozen=True, slots=True)
class Place:
    """An imagined building on a street. `road` may differ from the street's when the keyword named another."""

    street: Street
    road: str
    number: str
    lot: str
    building: str
    postal_code: str
    building_id: str
    longitude: str
    latitude: str


_STREETS = (
    Street("서울특별시", "서울", "강남구", "역삼동", "테헤란로", "1168010100", "062", 127.0366, 37.5006),
    Street("서울특별시", "서울", "강남구", "삼성동", "봉은사로", "1168010500", "061", 127.0567, 37.5143),
    Street("서울특별시", "서울", "마포구", "아현동", "마포대로", "1144010100", "041", 126.9562, 37.5518),
    Street("서울특별시", "서울", "중구", "태평로1가", "세종대로", "1114010300", "045", 126.9779, 37.5663),
    Street("경기도", "경기", "성남시 분당구", "삼평동", "판교역로", "4113510900", "134", 127.1088, 37.4022),
    Street("인천광역시", "인천", "연수구", "송도동", "송도과학로", "2818510600", "219", 126.6610, 37.3830),
    Street("부산광역시", "부산", "해운대구", "우동", "해운대해변로", "2635010500", "480", 129.1604, 35.1587),
    Street("대전광역시", "대전", "유성구", "도룡동", "대덕대로", "3020012900", "341", 127.3845, 36.3763),
    Street(
        "전북특별자치도",
        "전북특별자치도",
        "익산시",
        "부송동",
        "망산길",
        "5214013400",
        "545",
        126.9960,
        35.9767,
    ),
    Street(
        "강원특별자치도",
        "강원특별자치도",
        "춘천시",
        "중앙로1가",
        "중앙로",
        "5111010100",
        "242",
        127.7300,
        37.8813,
    ),
    Street(
        "세종특별자치시", "세종특별자치시", "", "어진동", "한누리대로", "3611010500", "301", 127.2580, 36.5040
    ),
    Street(
        "제주특별자치도", "제주특별자치도", "제주시", "연동", "연북로", "5011010900", "631", 126.4950, 33.4830
    ),
)
_BUILDINGS = ("", "", "한빛빌딩", "미래타워", "중앙프라자", "청솔아파트", "가온센터", "다솜오피스텔")
_NUMBER = re.compile(r"[1-9][0-9]{0,4}(-[1-9][0-9]{0,3})?", re.ASCII)


def places(keyword: str) -> int:
    """How many places answer to `keyword`: one when it names a building number, else 3 to 47; 0 without words."""
    words = keyword.split()
    if not words:
        return 0
    return 1 if any(_NUMBER.fullmatch(word) for word in words) else 3 + _draw(keyword, 0) % 45


def place(keyword: str, index: int) -> Place:
    """The place number `index` (from 0) for `keyword`, always the same; its names hold every word of the keyword."""
    words = keyword.split()
    asked_number = next((word for word in words if _NUMBER.fullmatch(word)), None)
    names = [word for word in words if word != asked_number]
    street = _street(keyword, names, index)
    left = [word for word in names if word not in street.names]
    names_its_road = any(name in street.names and name not in street.area for name in names)
    roads = () if names_its_road else (word for word in left if word.endswith(("로", "길")) and len(word) > 1)
    road = next(iter(roads), street.road)
    named = " ".join(word for word in left if word != road)
    number = asked_number or str(1 + _draw(keyword, 1) % 300 + 2 * index)
    drawn = _draw(f"{keyword} {road} {number}", index)
    lot = f"{100 + drawn % 800}-{1 + drawn % 37}"
    return Place(
        street=street,
        road=road,
        number=number,
        lot=lot,
        building=named or _BUILDINGS[drawn % len(_BUILDINGS)],
        postal_code=f"{street.postal_area}{drawn % 100:02}",
        building_id=f"{street.legal_dong_code}{drawn % 10**15:015}",
        longitude=f"{street.longitude + drawn % 1000 / 10**5:.8f}",
        latitude=f"{street.latitude + drawn % 997 / 10**5:.8f}",
    )


def _street(keyword: str, names: list[str], index: int) -> Street:
    """One of the streets that hold the most of the names."""
    held = [sum(name in street.names for name in names) for street in _STREETS]
    candidates = [street for street, count in zip(_STREETS, held, strict=True) if count == max(held)]
    return candidates[(_draw(keyword, 2) + index) % len(candidates)]


def _draw(text: str, salt: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt} {text}".encode("utf-8", "replace")).digest()[:8])


_INITIALS = (
    "g",
    "kk",
    "n",
    "d",
    "tt",
    "r",
    "m",
    "b",
    "pp",
    "s",
    "ss",
    "",
    "j",
    "jj",
    "ch",
    "k",
    "t",
    "p",
    "h",
)
_VOWELS = "a ae ya yae eo e yeo ye o wa wae oe yo u wo we wi yu eu ui i".split()  # noqa: SIM905 -- a row reads better than 21 lines.
_FINALS = "- k k k n n n t l k m l l l p l m p p t t ng t t k t p t".split()  # noqa: SIM905 -- as above.
_SUFFIXES = ("대로", "로", "길", "시", "군", "구", "동", "가", "도")


def romanised(name: str) -> str:
    """A Korean place name in Latin letters, letter by letter, as in `Teheran-ro` for 테헤란로."""
    suffix = next((end for end in _SUFFIXES if name.endswith(end) and len(name) > len(end)), "")
    stem = "".join(_syllables(name.removesuffix(suffix))).capitalize()
    return f"{stem}-{''.join(_syllables(suffix))}" if suffix else stem


def _syllables(text: str) -> Iterator[str]:
    for sign in text:
        place_in_block = ord(sign) - ord("가")
        if not 0 <= place_in_block <= ord("힣") - ord("가"):
            yield sign
            continue
        initial, rest = divmod(place_in_block, 21 * 28)
        vowel, final = divmod(rest, 28)
        yield _INITIALS[initial] + _VOWELS[vowel] + _FINALS[final].strip("-")
