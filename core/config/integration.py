"""`IntegrationConfig`: how one integration is called, as frozen, validated data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from core.settings import LogLevel, allowed


class IntegrationType(StrEnum):
    """How an integration talks."""

    API = "api"
    SMTP = "smtp"
    SMS = "sms"
    WEBHOOK = "webhook"


def _origin(value: str) -> str:
    if not value.startswith(("https://", "http://")) or any(mark in value for mark in "?#@ "):
        raise ValueError("not an address")
    return value.rstrip("/")


class ProviderConfig(BaseModel):
    """One provider of an integration: where it is and what it knows us by."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    base_url: Annotated[str, AfterValidator(_origin)] = Field(
        description="Where the provider is.",
        json_schema_extra=allowed("an http or https address without a query"),
    )
    api_key: SecretStr | None = Field(
        None,
        description="What the provider knows us by.",
        json_schema_extra=allowed("the key that the provider issued"),
    )

    @property
    def is_configured(self) -> bool:
        return self.api_key is not None


class IntegrationConfig(BaseModel):
    """How one integration is called. Times are seconds. Every field can be set for one integration alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    integration_name: str
    integration_type: IntegrationType
    providers: tuple[ProviderConfig, ...] = ()
    is_enabled: bool = Field(
        True,
        description="Whether calls are allowed at all.",
        json_schema_extra=allowed("true or false"),
    )
    is_mock_mode: bool = Field(
        False,
        description="Whether the mock answers and nothing leaves the process. In dev, the default without a key.",
        json_schema_extra=allowed("true or false"),
    )
    timeout_seconds: float = Field(
        30,
        gt=0,
        le=300,
        allow_inf_nan=False,
        description="The most that one attempt may take.",
        json_schema_extra=allowed("seconds, above 0 and up to 300"),
    )
    deadline_seconds: float = Field(
        60,
        gt=0,
        le=900,
        allow_inf_nan=False,
        description="The most that a call may take, waiting and all attempts included.",
        json_schema_extra=allowed("seconds, above 0 and up to 900"),
    )
    max_retries: int = Field(
        3,
        ge=0,
        le=10,
        description="How often a failed attempt is tried again.",
        json_schema_extra=allowed("a whole number from 0 to 10"),
    )
    retry_initial_delay_seconds: float = Field(
        0.5,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="The longest wait before the first retry; each further one may be longer by the factor.",
        json_schema_extra=allowed("seconds, from 0 to 60"),
    )
    retry_backoff_factor: float = Field(
        2.0,
        ge=1,
        le=10,
        allow_inf_nan=False,
        description="How much longer each wait may be than the one before.",
        json_schema_extra=allowed("a number from 1 to 10"),
    )
    retry_max_delay_seconds: float = Field(
        60,
        gt=0,
        le=600,
        allow_inf_nan=False,
        description="The longest wait between two attempts.",
        json_schema_extra=allowed("seconds, above 0 and up to 600"),
    )
    circuit_breaker_enabled: bool = Field(
        True,
        description="Whether an ill provider is left alone.",
        json_schema_extra=allowed("true or false"),
    )
    circuit_breaker_failure_threshold: int = Field(
        5,
        ge=1,
        le=100,
        description="So many failures in a row open the circuit.",
        json_schema_extra=allowed("a whole number from 1 to 100"),
    )
    circuit_breaker_timeout_seconds: float = Field(
        60,
        gt=0,
        le=3600,
        allow_inf_nan=False,
        description="After so long an open circuit lets one probe through.",
        json_schema_extra=allowed("seconds, above 0 and up to 3600"),
    )
    rate_limit_enabled: bool = Field(
        True,
        description="Whether our own limits hold.",
        json_schema_extra=allowed("true or false"),
    )
    rate_limit_calls_per_minute: int = Field(
        60,
        ge=1,
        le=100_000,
        description="Never more attempts than this in any 60 seconds.",
        json_schema_extra=allowed("a whole number from 1 to 100000"),
    )
    rate_limit_calls_per_hour: int = Field(
        1000,
        ge=1,
        le=1_000_000,
        description="Never more attempts than this in any 3,600 seconds.",
        json_schema_extra=allowed("a whole number from 1 to 1000000"),
    )
    rate_limit_max_wait_seconds: float = Field(
        5,
        ge=0,
        le=300,
        allow_inf_nan=False,
        description="The longest wait for a token; a call that would wait longer is refused at once.",
        json_schema_extra=allowed("seconds, from 0 to 300"),
    )
    cache_enabled: bool = Field(
        True,
        description="Whether answers are kept.",
        json_schema_extra=allowed("true or false"),
    )
    cache_ttl_seconds: float = Field(
        3600,
        gt=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="So long an answer counts as fresh.",
        json_schema_extra=allowed("seconds, above 0 and up to a year"),
    )
    cache_stale_seconds: float = Field(
        86_400,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="So long beyond that it may still stand in, marked as stale, when the provider fails.",
        json_schema_extra=allowed("seconds, from 0 to a year"),
    )
    log_level: LogLevel | None = Field(
        None,
        description="The least severe log line that is written about this integration; by default the process's.",
        json_schema_extra=allowed("debug, info, warning or error"),
    )

    @property
    def configured_providers(self) -> tuple[ProviderConfig, ...]:
        """Those that can be asked, first choice first: all of them in mock mode, else those with a key."""
        if self.is_mock_mode:
            return self.providers
        return tuple(provider for provider in self.providers if provider.is_configured)

    def provider(self, name: str) -> ProviderConfig:
        """The provider of that name. Raises `KeyError` when there is none."""
        for provider in self.providers:
            if provider.name == name:
                return provider
        raise KeyError(name)
