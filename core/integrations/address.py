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

PROVIDERS: Final[Mapping[str, Callable[[ProviderConfig], Provider[AddressPage]]]] = {
    "juso": JusoProvider,
    "kakao": KakaoProvider,
}
_LONGEST_KEYWORD = 80
_LARGEST_PAGE = 100
_LAST_RESULT = 9_000


class AddressIntegration(BaseIntegration[AddressPage]):
    """Finds Korean addresses."""

    operations: ClassVar[frozenset[str]] = frozenset({"search_address", "get_address_details"})

    def search_address(
        self, keyword: str, *, page: int = 1, page_size: int = 10, user_id: str | None = None
    ) -> IntegrationResponse[AddressPage]:
        """Addresses that match `keyword`, such as "테헤란로 509": a page of them, empty when none match.

        `page` counts from 1, `page_size` goes to 100, and `page × page_size` to 9,000 (source: juso.go.kr API
        guide). Raises `InvalidRequest` for a keyword too short, too long or of digits alone.
        """
        params: Params = {"keyword": keyword, "page": page, "page_size": page_size}
        return self.call("search_address", params, user_id=user_id)

    def get_address_details(
        self, road_address: str, *, user_id: str | None = None
    ) -> IntegrationResponse[Address]:
        """The one address that `road_address` names. Raises `NotFound` when there is no such address."""
        page = self.call("get_address_details", {"keyword": road_address}, user_id=user_id)
        return IntegrationResponse(
            value=page.value.best_match(road_address) or page.value.addresses[0],
            source=page.source,
            provider=page.provider,
            trace_id=page.trace_id,
            age_seconds=page.age_seconds,
            attempts=page.attempts,
            stale_because=page.stale_because,
        )

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
