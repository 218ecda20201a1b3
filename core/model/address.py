"""A Korean address as every provider's answer is told: one record, whoever gave it."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal


def tidy(text: str) -> str:
    """`text` with every run of white space and unprintable characters as one space, none at the ends."""
    if not text.isprintable():
        text = "".join(sign if sign.isprintable() else " " for sign in text)
    return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Address:
    """One address. Every text is tidied (`tidy`), and "" where the provider gave nothing.

    - `postal_code` is the five-digit code; a street without a building number has none.
    - `road_address` is the road-name address up to the building number, `lot_address` the older one by lot.
    - `detailed_address` is what follows the road address: the parts of the building (as juso lists them), or
      the building's name, or else the reference in parentheses without its parentheses (the legal town).
    - `building_id` is the 25-digit building management number, which only juso gives.
    - `legal_dong_code` has ten digits.
    - `province`, `district`, `town` go from large to small (시도, 시군구, 읍면동); `road_name` is the street alone.
    - `longitude` and `latitude` are degrees (WGS 84), or None.
    - `provider` is who gave it.
    """

    postal_code: str
    road_address: str
    lot_address: str
    detailed_address: str
    english_address: str
    building_name: str
    building_id: str
    legal_dong_code: str
    province: str
    district: str
    town: str
    road_name: str
    longitude: Decimal | None
    latitude: Decimal | None
    provider: str


@dataclass(frozen=True, slots=True)
class AddressPage:
    """One page of a search. `page` counts from 1; both `page` and `page_size` are 0 when the answer does not say.

    `total_count` is how many there are on all pages together, by the provider's word.
    """

    addresses: tuple[Address, ...]
    total_count: int
    page: int
    page_size: int

    def best_match(self, road_address: str, building_id: str = "") -> Address | None:
        """The address with that building number, else the one that is exactly `road_address`, else the first.

        None on an empty page. When `building_id` is given and none has it, the other rules decide.
        """
        wanted = tidy(road_address)
        by_id = (found for found in self.addresses if building_id and found.building_id == building_id)
        by_text = (found for found in self.addresses if wanted in {found.road_address, found.lot_address})
        return next(by_id, None) or next(by_text, None) or next(iter(self.addresses), None)
