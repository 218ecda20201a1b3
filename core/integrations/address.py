"""Korean addresses: search by keyword, and the details of one address. juso.go.kr first, Kakao Local second."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar, Final

from core.client.provider import Params, Provider
from core.config.integration import IntegrationConfig, ProviderConfig
from core.integrations.base import BaseIntegration, Invalid, ProviderCheck
from core.integrations.juso import JusoProvider, clean_keyword
from core.integrations.kakao import KakaoProvider
from core.model.address import Address, AddressPage
from core.model.answer import IntegrationResponse
from core.model.calling import CallClass, Safety

PROVIDERS: Final[Mapping[str, Callable[[ProviderConfig], Provider[AddressPage]]]] = {
    "juso": JusoProvider,
    "kakao": KakaoProvider,
}
_LONGEST_KEYWORD = 80
_LARGEST_PAGE = 100
_LAST_RESULT = 9_000


class AddressIntegration(BaseIntegration[AddressPage]):
    """Finds Korean addresses."""

    operations: ClassVar[Mapping[str, Safety]] = {
        "search_address": Safety.SAFE,
        "get_address_details": Safety.SAFE,
    }

    def search_address(
        self,
        keyword: str,
        *,
        page: int = 1,
        page_size: int = 10,
        user_id: str | None = None,
        call_class: CallClass = CallClass.INTERACTIVE,
    ) -> IntegrationResponse[AddressPage]:
        """Addresses that match `keyword`, such as "테헤란로 509": a page of them, empty when none match.

        `page` counts from 1, `page_size` goes to 100, and `page × page_size` to 9,000 (source: juso.go.kr API
        guide). Raises `InvalidRequest` for a keyword too short, too long or of digits alone.
        """
        return self.call(
            "search_address", _search(keyword, page, page_size), user_id=user_id, call_class=call_class
        )

    async def asearch_address(
        self,
        keyword: str,
        *,
        page: int = 1,
        page_size: int = 10,
        user_id: str | None = None,
        call_class: CallClass = CallClass.INTERACTIVE,
    ) -> IntegrationResponse[AddressPage]:
        """`search_address`, without holding up the event loop."""
        return await self.acall(
            "search_address", _search(keyword, page, page_size), user_id=user_id, call_class=call_class
        )

    def get_address_details(
        self,
        road_address: str,
        *,
        user_id: str | None = None,
        call_class: CallClass = CallClass.INTERACTIVE,
    ) -> IntegrationResponse[Address]:
        """The one address that `road_address` names. Raises `NotFound` when there is no such address."""
        page = self.call(
            "get_address_details", {"keyword": road_address}, user_id=user_id, call_class=call_class
        )
        return _best_match(page, road_address)

    async def aget_address_details(
        self,
        road_address: str,
        *,
        user_id: str | None = None,
        call_class: CallClass = CallClass.INTERACTIVE,
    ) -> IntegrationResponse[Address]:
        """`get_address_details`, without holding up the event loop."""
        page = await self.acall(
            "get_address_details", {"keyword": road_address}, user_id=user_id, call_class=call_class
        )
        return _best_match(page, road_address)

    def health_check(self) -> tuple[ProviderCheck, ...]:
        """One small fixed search at each provider, past the cache."""
        return self._check_providers()

    def _providers(self, config: IntegrationConfig) -> Sequence[Provider[AddressPage]]:
        return [PROVIDERS[provider.name](provider) for provider in config.configured_providers]

    def _validated(self, operation: str, params: Params) -> Params:
        given = params["keyword"]
        if not isinstance(given, str):
            raise Invalid("the keyword has to be text")
        keyword = clean_keyword(given)
        if len(keyword) < 2:  # noqa: PLR2004 -- source: juso.go.kr error code E0008.
            raise Invalid("the keyword needs two characters or more")
        if len(keyword) > _LONGEST_KEYWORD:
            raise Invalid(f"the keyword may have {_LONGEST_KEYWORD} characters at the most")
        if keyword.replace(" ", "").isdigit():
            raise Invalid("the keyword needs letters besides digits")
        if operation == "get_address_details":
            return {"keyword": keyword}
        page, size = int(params["page"]), int(params["page_size"])
        if page < 1 or not 1 <= size <= _LARGEST_PAGE:
            raise Invalid(f"pages count from 1 and hold 1 to {_LARGEST_PAGE} addresses")
        if page * size > _LAST_RESULT:
            raise Invalid(f"only the first {_LAST_RESULT} addresses can be had; narrow the keyword down")
        return {"keyword": keyword, "page": page, "page_size": size}


def _search(keyword: str, page: int, page_size: int) -> Params:
    return {"keyword": keyword, "page": page, "page_size": page_size}


def _best_match(page: IntegrationResponse[AddressPage], road_address: str) -> IntegrationResponse[Address]:
    address = page.value.best_match(road_address) or page.value.addresses[0]
    return IntegrationResponse(
        address,
        page.source,
        page.provider,
        page.trace_id,
        page.age_seconds,
        page.attempts,
        page.stale_because,
    )
