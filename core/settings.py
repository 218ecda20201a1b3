"""The settings of one process, read once from `BONGSU_*` variables, and the only door to the environment.

A setting is a field of `Settings`; its variable is `BONGSU_` and the field's name in capitals. What belongs to
one integration (`BONGSU_ADDRESS_…`, `BONGSU_JUSO_…`) is read by `core.config.environment`, which also reports
every fault of both at once.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final
from zoneinfo import ZoneInfo, available_timezones

import platformdirs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr
from pydantic.config import JsonDict

PREFIX: Final = "BONGSU_"
_LAST_PORT: Final = 65_535
_LIFELINE: Final = "_BONGSU_LIFELINE"
"""No setting: by it the supervisor tells a program which of its descriptors is the lifeline."""


class Environment(StrEnum):
    """Where this runs. Mocks without a key and demo traffic exist in dev alone."""

    DEV = "dev"
    STAGING = "staging"
    PRODUCTION = "production"


class LogFormat(StrEnum):
    """How a log line is written: for people, or for programs."""

    CONSOLE = "console"
    JSON = "json"


class LogLevel(StrEnum):
    """The least severe line that is still written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


_SERVER: Final = r"(?:\[[0-9A-Fa-f:.]+\]|[^\s/?#@:\[\]]+)(?::(?P<port>[0-9]{1,5}))?"
_POSTGRES: Final = re.compile(
    # Names and passwords as SQLAlchemy reads them. Without a server, the query names one, or a socket's directory.
    rf"postgresql\+psycopg://(?:[^:/@]*(?::[^@]*)?@)?(?:{_SERVER}/[^?/\s]+(?:\?\S*)?|/[^?/\s]+\?(?:\S*&)?host=\S+)"
)
_REDIS: Final = re.compile(
    rf"(?:rediss?://(?:[^/?#]*@)?{_SERVER}(?:/[0-9]{{0,9}})?|unix://(?:[^/?#]*@)?/[^?\s]+)"
    r"(?:\?(?:db=[0-9]{1,9}|ssl_[a-z_]+=[^&\s]+)(?:&(?:db=[0-9]{1,9}|ssl_[a-z_]+=[^&\s]+))*)?"
)
_ORIGIN: Final = re.compile(rf"https?://{_SERVER}")


def _is_address(pattern: re.Pattern[str], value: str) -> bool:
    """Whether it is written as the pattern says, with a port that exists where it names one."""
    match = pattern.fullmatch(value)
    return match is not None and (match["port"] is None or 1 <= int(match["port"]) <= _LAST_PORT)


def _database_url(value: SecretStr) -> SecretStr:
    if not _is_address(_POSTGRES, value.get_secret_value()):
        raise ValueError("not a PostgreSQL address")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    if not _is_address(_REDIS, value.get_secret_value()):
        raise ValueError("not a Redis address")
    return value


def _zone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError("not a time zone")
    return value


def _public_url(value: str) -> str:
    if not _is_address(_ORIGIN, value):
        raise ValueError("not an origin")
    return value


def allowed(phrase: str) -> JsonDict:
    """What a value may be, in words: shown with each fault and in the settings reference."""
    return {"allowed": phrase}


class Settings(BaseModel):
    """Everything one process needs to know before it starts. Frozen: the environment is read once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    env: Environment = Field(
        Environment.DEV,
        description="Where this runs.",
        json_schema_extra=allowed("dev, staging or production"),
    )
    data_dir: Path = Field(
        default_factory=lambda: platformdirs.user_data_path("bongsu"),
        description="Where the embedded database, the shared state and the keys are kept.",
        json_schema_extra=allowed("a directory that can be written; it is made if it is missing"),
    )
    database_url: Annotated[SecretStr, AfterValidator(_database_url)] | None = Field(
        None,
        description="The PostgreSQL database. Without it, the embedded SQLite database is used.",
        json_schema_extra=allowed("postgresql+psycopg://USER:PASSWORD@HOST:PORT/DATABASE"),
    )
    redis_url: Annotated[SecretStr, AfterValidator(_redis_url)] | None = Field(
        None,
        description="The Redis that holds shared state. Without it, a SQLite file in the data directory does.",
        json_schema_extra=allowed("redis://:PASSWORD@HOST:PORT/NUMBER, rediss://… or unix://…"),
    )
    host: str = Field(
        "127.0.0.1",
        min_length=1,
        description="The address that the web process listens on.",
        json_schema_extra=allowed("an address of this machine; 0.0.0.0 for all"),
    )
    port: int = Field(
        8501,
        ge=1,
        le=_LAST_PORT,
        description="The port that the web process listens on.",
        json_schema_extra=allowed("a whole number from 1 to 65535"),
    )
    public_url: Annotated[str, AfterValidator(_public_url)] | None = Field(
        None,
        description="The origin that browsers use, when a proxy stands in front. With https, cookies are Secure.",
        json_schema_extra=allowed("https://HOST or https://HOST:PORT, without a path"),
    )
    demo: bool = Field(
        True,
        description="Whether demo traffic runs. It never runs outside dev, whatever this says.",
        json_schema_extra=allowed("true or false"),
    )
    timezone: Annotated[str, AfterValidator(_zone)] = Field(
        "Asia/Seoul",
        description="The time zone of times on the screen. Stored times are always UTC.",
        json_schema_extra=allowed("a name of the IANA time zone database, such as Asia/Seoul"),
    )
    log_level: LogLevel = Field(
        LogLevel.INFO,
        description="The least severe log line that is written.",
        json_schema_extra=allowed("debug, info, warning or error"),
    )
    log_format: LogFormat = Field(
        LogFormat.CONSOLE,
        description="How log lines are written.",
        json_schema_extra=allowed("console or json"),
    )
    session_idle_minutes: int = Field(
        60,
        ge=1,
        le=1440,
        description="A sign-in ends after so many minutes without use.",
        json_schema_extra=allowed("a whole number from 1 to 1440"),
    )
    session_max_hours: int = Field(
        12,
        ge=1,
        le=720,
        description="A sign-in ends after so many hours, used or not.",
        json_schema_extra=allowed("a whole number from 1 to 720"),
    )

    @property
    def has_demo_traffic(self) -> bool:
        """Demo traffic runs in dev alone."""
        return self.demo and self.env is Environment.DEV

    @property
    def has_secure_cookies(self) -> bool:
        """Whether browsers reach this by https."""
        return self.public_url is not None and self.public_url.startswith("https://")

    @property
    def address(self) -> str:
        """The origin to give to people."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return self.public_url or f"http://{host}:{self.port}"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone of the screen."""
        return ZoneInfo(self.timezone)

    @property
    def database_file(self) -> Path:
        """The embedded database."""
        return self.data_dir / "bongsu.db"

    @property
    def state_file(self) -> Path:
        """The embedded shared state: circuits, limits and cached answers."""
        return self.data_dir / "state.db"


def environment() -> Mapping[str, str]:
    """The `BONGSU_*` variables of this process, as they are now."""
    return {name: value for name, value in os.environ.items() if name.startswith(PREFIX)}  # noqa: TID251 -- this is the door.


def environment_for_child(**changes: str) -> dict[str, str]:
    """The whole environment with some variables changed, to start a child process with."""
    return {**os.environ, **changes}  # noqa: TID251 -- this is the door.


def lifeline() -> int | None:
    """The descriptor of the lifeline that a supervisor gave to this process; None when there is no supervisor."""
    value = os.environ.get(_LIFELINE, "")  # noqa: TID251 -- this is the door.
    return int(value) if re.fullmatch(r"[0-9]{1,7}", value) else None


def with_lifeline(environ: Mapping[str, str], descriptor: int) -> dict[str, str]:
    """The environment of a program that holds this lifeline."""
    return {**environ, _LIFELINE: str(descriptor)}
