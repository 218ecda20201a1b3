"""From `BONGSU_*` variables to a whole configuration, or to every fault in them at once.

Three kinds of name: `BONGSU_<SETTING>`, `BONGSU_<INTEGRATION>_<FIELD>` and `BONGSU_<PROVIDER>_<FIELD>`. A name
that is none of these is a fault too, since a misspelt setting is one that silently does not hold.
`BONGSU_TEST_*` belongs to the test suite and is left alone.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from pydantic import BaseModel, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from core.config.integration import IntegrationConfig, ProviderConfig
from core.config.templates import TEMPLATES, IntegrationTemplate
from core.errors import SettingFault, SettingsRefused
from core.settings import PREFIX, Environment, Settings

MASK = "********"
_FIXED = frozenset({"integration_name", "integration_type", "providers", "name"})
_TEST_PREFIX = f"{PREFIX}TEST_"
_Model = TypeVar("_Model", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Configuration:
    """Everything that a process is told from outside."""

    settings: Settings
    integrations: Mapping[str, IntegrationConfig]


@dataclass(frozen=True, slots=True)
class Variable:
    owner: str
    field: str
    info: FieldInfo

    @property
    def is_secret(self) -> bool:
        return "SecretStr" in str(self.info.annotation)

    @property
    def allowed(self) -> str:
        extra = self.info.json_schema_extra
        return str(extra["allowed"]) if isinstance(extra, dict) else "see the settings reference"


def variables() -> dict[str, Variable]:
    """Every variable that means something, with the field that it fills."""
    return dict(_variables())


def load(environ: Mapping[str, str]) -> Configuration:
    """Read everything from `environ`. Raises `SettingsRefused` with every fault that is in it."""
    return _Reader(environ).configuration()


def _variables() -> Iterator[tuple[str, Variable]]:
    for field, info in Settings.model_fields.items():
        yield f"{PREFIX}{field.upper()}", Variable("", field, info)
    for template in TEMPLATES:
        yield from _variables_of(template.name, IntegrationConfig)
        for provider in template.providers:
            yield from _variables_of(provider.name, ProviderConfig)


def _variables_of(owner: str, model: type[BaseModel]) -> Iterator[tuple[str, Variable]]:
    for field, info in model.model_fields.items():
        if field not in _FIXED:
            yield f"{PREFIX}{owner.upper()}_{field.upper()}", Variable(owner, field, info)


def secrets_of(configuration: Configuration) -> tuple[str, ...]:
    """Every secret value that the configuration knows, so that it can be masked wherever it turns up."""
    models: list[BaseModel] = [configuration.settings]
    for config in configuration.integrations.values():
        models.extend(config.providers)
    return tuple(
        value.get_secret_value()
        for model in models
        for value in dict(model).values()
        if isinstance(value, SecretStr)
    )


class _Reader:
    """Reads one environment and gathers what is wrong with it on the way."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._known = variables()
        self._faults = [*self._unknown()]

    def configuration(self) -> Configuration:
        settings = self._build(Settings, "", {})
        env = settings.env if settings else Environment.DEV
        integrations = [self._integration(template, env) for template in TEMPLATES]
        if self._faults or settings is None:
            raise SettingsRefused(tuple(self._faults))
        return Configuration(settings, {config.integration_name: config for config in integrations if config})

    def _unknown(self) -> Iterator[SettingFault]:
        for name in sorted(self._environ):
            if name.startswith(PREFIX) and not name.startswith(_TEST_PREFIX) and name not in self._known:
                near = difflib.get_close_matches(name, self._known, n=1)
                hint = f"did you mean {near[0]}?" if near else "see the settings reference for all names"
                yield SettingFault(name, MASK, f"there is no such setting; {hint}")

    def _integration(self, template: IntegrationTemplate, env: Environment) -> IntegrationConfig | None:
        providers = [
            self._build(ProviderConfig, provider.name, {"name": provider.name, "base_url": provider.base_url})
            for provider in template.providers
        ]
        has_key = any(provider.is_configured for provider in providers if provider)
        return self._build(
            IntegrationConfig,
            template.name,
            {
                "integration_name": template.name,
                "integration_type": template.type,
                "providers": tuple(provider for provider in providers if provider),
                "is_mock_mode": env is Environment.DEV and not has_key,
                **template.defaults,
            },
        )

    def _build(self, model: type[_Model], owner: str, defaults: Mapping[str, object]) -> _Model | None:
        given = {
            variable.field: self._environ[name]
            for name, variable in self._known.items()
            if variable.owner == owner and name in self._environ
        }
        try:
            return model.model_validate({**defaults, **given})
        except ValidationError as error:
            for field in dict.fromkeys(str(fault["loc"][0]) for fault in error.errors(include_input=False)):
                self._faults.append(self._fault(owner, field))
            return None

    def _fault(self, owner: str, field: str) -> SettingFault:
        name = f"{PREFIX}{owner.upper()}_{field.upper()}" if owner else f"{PREFIX}{field.upper()}"
        variable = self._known[name]
        shown = MASK if variable.is_secret else repr(self._environ[name])
        return SettingFault(name, shown, f"allowed is {variable.allowed}")
