"""What is known of each integration before anybody has configured it: a template an integration.

An integration is registered here (its name, its providers, its defaults) and implemented by one file of
`core.integrations`. The order is that of every list and page.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from core.config.integration import IntegrationType


@dataclass(frozen=True, slots=True)
class ProviderTemplate:
    """One provider, first choice first. `key_name` is what the provider itself calls the key."""

    name: str
    title: str
    base_url: str
    key_name: str


@dataclass(frozen=True, slots=True)
class IntegrationTemplate:
    """One integration. `defaults` are the fields of `IntegrationConfig` that differ from the general ones."""

    name: str
    title: str
    type: IntegrationType
    providers: tuple[ProviderTemplate, ...]
    defaults: Mapping[str, object] = field(default_factory=dict)


TEMPLATES: tuple[IntegrationTemplate, ...] = (
    IntegrationTemplate(
        name="address",
        title="Korean address search",
        type=IntegrationType.API,
        providers=(
            ProviderTemplate(
                name="juso",
                title="juso.go.kr road-name addresses",
                base_url="https://business.juso.go.kr",
                key_name="confmKey",
            ),
            ProviderTemplate(
                name="kakao",
                title="Kakao Local",
                base_url="https://dapi.kakao.com",
                key_name="REST API key",
            ),
        ),
        defaults={"timeout_seconds": 5, "deadline_seconds": 15},
    ),
)
