"""`IntegrationConfig`: how one integration is called, as frozen, validated data."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr, ValidationInfo, field_validator

from core.model.calling import LONGEST_HISTORY, Jitter, LimitMode
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
    retry_jitter: Jitter = Field(
        Jitter.FULL,
        description="How chance spreads the waits, so that callers who failed together do not come back together.",
        json_schema_extra=allowed("full, equal, decorrelated or none"),
    )
    retry_budget_percent: int = Field(
        10,
        ge=0,
        le=100,
        description="Retries add this share to a failing provider's traffic at the most; 0 for no such bound.",
        json_schema_extra=allowed("a whole number from 0 to 100"),
    )
    max_calls_in_flight: int = Field(
        64,
        ge=1,
        le=10_000,
        description="So many calls may be under way at once in each process; one more is refused.",
        json_schema_extra=allowed("a whole number from 1 to 10000"),
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
    circuit_breaker_probes: int = Field(
        1,
        ge=1,
        le=100,
        description="So many probes may be under way at once, over all processes.",
        json_schema_extra=allowed("a whole number from 1 to 100"),
    )
    circuit_breaker_probes_by_check: bool = Field(
        False,
        description="Whether the probe is the integration's own health check, so that no caller has to find out.",
        json_schema_extra=allowed("true or false"),
    )
    circuit_breaker_failure_percent: int = Field(
        0,
        ge=0,
        le=100,
        description="This share of failed attempts in the window opens the circuit, too; 0 looks at failures in a row alone.",
        json_schema_extra=allowed("a whole number from 0 to 100"),
    )
    circuit_breaker_slow_percent: int = Field(
        0,
        ge=0,
        le=100,
        description="This share of slow attempts in the window opens the circuit, too; 0 does not look at slowness.",
        json_schema_extra=allowed("a whole number from 0 to 100"),
    )
    circuit_breaker_slow_seconds: float = Field(
        5,
        gt=0,
        le=300,
        allow_inf_nan=False,
        description="An attempt that takes so long is slow.",
        json_schema_extra=allowed("seconds, above 0 and up to 300"),
    )
    circuit_breaker_window_seconds: float = Field(
        60,
        ge=1,
        le=3600,
        allow_inf_nan=False,
        description="The time over which shares are counted.",
        json_schema_extra=allowed("seconds, from 1 to 3600"),
    )
    circuit_breaker_minimum_calls: int = Field(
        20,
        ge=1,
        le=10_000,
        description="Shares mean nothing before so many attempts ended in the window.",
        json_schema_extra=allowed("a whole number from 1 to 10000"),
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
    rate_limit_mode: LimitMode = Field(
        LimitMode.ANY_WINDOW,
        description=(
            "How the limits are kept: any_window holds in any window and uses 90 % of them; exact uses all of them; "
            "bucket may let nearly twice as many through in a window that spans a refill."
        ),
        json_schema_extra=allowed("any_window, bucket, or (for limits up to 10000) exact"),
    )
    rate_limit_reserved_percent: int = Field(
        20,
        ge=0,
        le=90,
        description="The share of the limits that batch calls never use, so that people never wait for batch work.",
        json_schema_extra=allowed("a whole number from 0 to 90"),
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
    cache_local_seconds: float = Field(
        5,
        ge=0,
        le=3600,
        allow_inf_nan=False,
        description="So long a process serves a fresh answer from its own memory, without asking the shared store.",
        json_schema_extra=allowed("seconds, from 0 to 3600"),
    )
    cache_revalidate_seconds: float = Field(
        0,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="So long beyond its time to live it is served at once, while a fresh one is fetched behind.",
        json_schema_extra=allowed("seconds, from 0 to a year"),
    )
    cache_negative_seconds: float = Field(
        30,
        ge=0,
        le=86_400,
        allow_inf_nan=False,
        description="So long it is remembered that the provider knows no such thing.",
        json_schema_extra=allowed("seconds, from 0 to a day"),
    )
    cache_stale_seconds: float = Field(
        86_400,
        ge=0,
        le=31_536_000,
        allow_inf_nan=False,
        description="So long beyond its time to live it may stand in, marked as stale, when the provider fails.",
        json_schema_extra=allowed("seconds, from 0 to a year"),
    )
    log_level: LogLevel | None = Field(
        None,
        description="The least severe log line that is written about this integration; by default the process's.",
        json_schema_extra=allowed("debug, info, warning or error"),
    )

    @field_validator("rate_limit_mode")
    @classmethod
    def _is_rememberable(cls, mode: LimitMode, info: ValidationInfo) -> LimitMode:
        limits = (
            info.data.get("rate_limit_calls_per_minute", 0),
            info.data.get("rate_limit_calls_per_hour", 0),
        )
        if mode is LimitMode.EXACT and max(limits) > LONGEST_HISTORY:
            raise ValueError("the limits are too large to be kept exactly")
        return mode

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
