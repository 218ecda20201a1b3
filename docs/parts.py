"""The generated parts of the reference: each is read from the code that it describes. Pure but for a scratch hub."""

from __future__ import annotations

import inspect
import re
import tempfile
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Final

import click
from fastapi.routing import APIRoute
from pydantic.fields import FieldInfo
from sqlalchemy import CheckConstraint, Column, DefaultClause, Table, UniqueConstraint, make_url

from core import errors
from core.command.commands import bongsu
from core.config.environment import Variable, variables
from core.config.integration import IntegrationConfig
from core.config.templates import TEMPLATES
from core.errors import CallError
from core.health import status
from core.hub import connect
from core.model.calling import Jitter, LimitMode
from core.persistence.tables import metadata
from core.policies.rate_limit import LimitPolicy, RateLimiter, Share, TokenBucket
from core.policies.retry import RetryPolicy, delay
from core.web.api import create_api, required_role
from jobs.schedule import JOBS

ROOT: Final = Path(__file__).parents[1]
_WIDTH: Final = 88
_SQLITE: Final = make_url("sqlite://").get_dialect()()
_POSTGRESQL: Final = make_url("postgresql+psycopg://").get_dialect()()
_NO_ROLE: Final = "–"
_POLICIES: Final[Mapping[str, tuple[str, ...]]] = {
    "policies: time": ("timeout_", "deadline_"),
    "policies: retry budget": ("retry_budget_",),
    "policies: retry": ("max_retries", "retry_"),
    "policies: circuit breaker": ("circuit_breaker_",),
    "policies: rate limit": ("rate_limit_",),
    "policies: cache": ("cache_",),
    "policies: bulkhead": ("max_calls_in_flight",),
}
"""Each policy's part, and how the names of its fields begin. The first that fits has a field."""


def settings() -> str:
    """The variables of the product as a whole."""
    return _variables_of("")


def integration_settings() -> str:
    """The variables of each integration and each provider."""
    sections: list[str] = []
    for template in TEMPLATES:
        sections += [
            f"### {template.title} (`{template.name}`)",
            _variables_of(template.name, template.defaults),
        ]
        for provider in template.providers:
            sections += [
                f"#### {provider.title} (`{provider.name}`)",
                f"The provider itself calls the key “{provider.key_name}”.",
                _variables_of(provider.name, {"base_url": provider.base_url}),
            ]
    return "\n\n".join(sections)


def policy_of(field: str) -> str:
    """The generated part that tells of a field of `IntegrationConfig`: that of its policy, else the general one."""
    return next((part for part, begin in _POLICIES.items() if field.startswith(begin)), "policies")


def policies(part: str) -> str:
    """The fields of one policy, their defaults, and where an integration has another."""
    rows = [
        [
            f"`{name}`",
            str(field.description),
            _allowed(field),
            _default(field),
            _others(name),
        ]
        for name, field in IntegrationConfig.model_fields.items()
        if field.description and policy_of(name) == part
    ]
    return _table(["field", "meaning", "allowed", "default", "other defaults"], rows)


def limit_modes() -> str:
    """How many calls each mode lets through at the default limit of a minute."""
    rows = [
        [f"`{mode}`", name, *_pace(share.minute, mode)]
        for mode in LimitMode
        for name, share in _shares(LimitPolicy(mode=mode).limiter)
    ]
    return _table(["mode", "share", "at once", "then one", "the most in any 60 seconds"], rows)


def retry_waits() -> str:
    """Between which waits each kind of jitter draws, at the default figures."""
    rows = [[f"`{jitter}`", *_ranges(RetryPolicy(jitter=jitter))] for jitter in Jitter]
    numbers = [f"before retry {retry}" for retry in range(1, RetryPolicy().max_retries + 1)]
    return _table(["jitter", *numbers], rows)


def error_tree() -> str:
    """The tree as it is drawn at the top of `core/errors.py`."""
    doc = inspect.cleandoc(errors.__doc__ or "")
    lines = doc.splitlines()
    tree = [line for line in lines if line.startswith("    ")]
    return "```text\n" + "\n".join(line.removeprefix("    ") for line in tree) + "\n```"


def call_errors() -> str:
    """What each error of a call says to an operator and to an end user."""
    rows = [
        [f"`{kind.__name__}`", kind.summary, kind.cure, kind.user_text["ko"], kind.user_text["en"]]
        for kind in _descendants(CallError)
    ]
    return _table(["error", "what it says", "the cure it names", "end user (ko)", "end user (en)"], rows)


def command_help() -> str:
    """The help of every command."""
    return "\n\n".join(_help_of(bongsu, "bongsu", None))


def make_targets() -> str:
    """What `make` offers."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    found = re.findall(r"^([a-z-]+):.*## (.+)$", makefile, flags=re.MULTILINE)
    rows = [[f"`make {target}`", meaning] for target, meaning in found]
    return _table(["command", "what it does"], rows)


def jobs() -> str:
    """Every job and when it is due."""
    rows = [
        [f"`{job.name}`", f"{job.every.total_seconds() / 60:g} minutes", _first_line(job.run)] for job in JOBS
    ]
    return _table(["job", "every", "what it does"], rows)


def tables() -> str:
    """Every table with its columns."""
    return "\n\n".join(_described(table) for table in metadata.sorted_tables)


def api_routes() -> str:
    """The routes of the API and what they answer, from its OpenAPI document."""
    with tempfile.TemporaryDirectory() as directory, connect(data_dir=directory, environ={}) as hub:
        api = create_api(hub)
        roles = {
            route.path: role.value if (role := required_role(route.dependant)) else _NO_ROLE
            for route in api.routes
            if isinstance(route, APIRoute)
        }
        document = api.openapi()
    routes = [
        [f"`{method.upper()} /api{path}`", roles[path], operation["description"]]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    answers = [
        f"### {name}\n\n{schema['description']}\n\n{_properties(schema)}"
        for name, schema in document["components"]["schemas"].items()
        if "properties" in schema and "description" in schema
    ]
    words = [
        f"- {name}: {', '.join(f'`{word}`' for word in schema['enum'])}"
        for name, schema in document["components"]["schemas"].items()
        if "enum" in schema
    ]
    return "\n\n".join(
        [_table(["route", "role", "what it gives"], routes), *answers, "### Words", "\n".join(words)]
    )


def health_rule() -> str:
    """The rule as it stands at the top of `core/health/status.py`."""
    doc = inspect.cleandoc(status.__doc__ or "")
    return doc.split("\n\n", 1)[1]


def contracts() -> str:
    """The rules of imports: the names of the contracts that `make check` keeps."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    names = [contract["name"] for contract in declared["tool"]["importlinter"]["contracts"]]
    return "\n".join(f"{number}. {name}" for number, name in enumerate(names, 1))


PARTS: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings,
    "integration settings": integration_settings,
    "policies": partial(policies, "policies"),
    **{part: partial(policies, part) for part in _POLICIES},
    "rate limit modes": limit_modes,
    "waits before retries": retry_waits,
    "error tree": error_tree,
    "call errors": call_errors,
    "command help": command_help,
    "make targets": make_targets,
    "jobs": jobs,
    "tables": tables,
    "API": api_routes,
    "health rule": health_rule,
    "import rules": contracts,
}
"""Every generated part by the name that its markers carry."""


def _variables_of(owner: str, defaults: Mapping[str, object] | None = None) -> str:
    rows = [
        [
            f"`{name}`",
            str(variable.info.description),
            variable.allowed,
            _default_of(variable, defaults or {}),
            "yes" if variable.is_secret else "no",
        ]
        for name, variable in variables().items()
        if variable.owner == owner
    ]
    return _table(["variable", "meaning", "allowed", "default", "secret"], rows)


def _default_of(variable: Variable, defaults: Mapping[str, object]) -> str:
    if variable.field in defaults:
        return f"`{_shown(defaults[variable.field])}`"
    return _default(variable.info)


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        # Only the data directory has one; where it is differs from machine to machine.
        return "the directory that the system has for a person's data"
    return "none" if field.default is None else f"`{_shown(field.default)}`"


def _others(field: str) -> str:
    others = [
        f"`{_shown(template.defaults[field])}` for {template.name}"
        for template in TEMPLATES
        if field in template.defaults
    ]
    return ", ".join(others)


def _allowed(field: FieldInfo) -> str:
    extra = field.json_schema_extra
    return str(extra["allowed"]) if isinstance(extra, dict) else ""


def _shares(limiter: RateLimiter) -> Iterable[tuple[str, Share]]:
    yield "shared", limiter.shared
    if limiter.reserved:
        yield "reserved", limiter.reserved


def _pace(bucket: TokenBucket, mode: LimitMode) -> tuple[str, str, str]:
    if mode is LimitMode.EXACT:
        return str(bucket.limit), "when the oldest is 60 s old", str(bucket.limit)
    seconds = bucket.interval_us / 1_000_000
    # Of the tokens that come in a window after a full bucket, the one at its very end is not in it.
    most = bucket.capacity + (bucket.window_us - 1) // bucket.interval_us
    return str(bucket.capacity), f"every {seconds:.2f} s", str(most)


def _ranges(policy: RetryPolicy) -> Iterable[str]:
    lasts = (0.0, 0.0)
    for retry in range(1, policy.max_retries + 1):
        least, most = (
            delay(policy, retry, chance, last=last) for chance, last in zip((0.0, 1.0), lasts, strict=True)
        )
        lasts = (least, most)
        yield f"{most:g} s" if least == most else f"{least:g} to {most:g} s"


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else f"{value}"


def _descendants(kind: type[CallError]) -> Iterable[type[CallError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _descendants(child)


def _help_of(command: click.Command, name: str, parent: click.Context | None) -> Iterable[str]:
    context = click.Context(
        command, info_name=name, parent=parent, terminal_width=_WIDTH, max_content_width=_WIDTH
    )
    yield f"### `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None:
                yield from _help_of(found, child, context)


def _first_line(thing: object) -> str:
    return inspect.cleandoc(thing.__doc__ or "").splitlines()[0]


def _described(table: Table) -> str:
    rows = [
        [
            f"`{column.name}`",
            column.type.compile(dialect=_SQLITE),
            column.type.compile(dialect=_POSTGRESQL),
            "yes" if column.nullable else "no",
            _notes(column),
        ]
        for column in table.columns
    ]
    indexes = [
        f"- {'unique ' if index.unique else ''}index on {', '.join(f'`{column.name}`' for column in index.columns)}"
        + (f" where {where.text}" if (where := index.dialect_kwargs["sqlite_where"]) is not None else "")
        for index in sorted(table.indexes, key=lambda index: str(index.name))
    ]
    together = [
        f"- unique together: {', '.join(f'`{column.name}`' for column in constraint.columns)}"
        for constraint in table.constraints
        if isinstance(constraint, UniqueConstraint) and len(constraint.columns) > 1
    ]
    head = [f"### `{table.name}`", *([table.comment] if table.comment else [])]
    body = _table(["column", "SQLite", "PostgreSQL", "may be empty", "notes"], rows)
    rules = [*_checks(table), *sorted(together), *indexes]
    return "\n\n".join([*head, body, *(["\n".join(rules)] if rules else [])])


def _checks(table: Table) -> list[str]:
    checks = (constraint for constraint in table.constraints if isinstance(constraint, CheckConstraint))
    return sorted(f"- always: {check.sqltext}" for check in checks)


def _notes(column: Column[object]) -> str:
    keys = [f"of `{key.column.table.name}`" for key in column.foreign_keys]
    notes = [
        "key" if column.primary_key else "",
        "unique" if column.unique else "",
        *keys,
        _default_note(column),
        column.comment or "",
    ]
    return ", ".join(note for note in notes if note)


def _default_note(column: Column[object]) -> str:
    default = column.server_default
    return f"default {default.arg}" if isinstance(default, DefaultClause) else ""


def _properties(schema: Mapping[str, Mapping[str, Mapping[str, object]]]) -> str:
    rows = [[f"`{name}`", _type(kind)] for name, kind in schema["properties"].items()]
    return _table(["field", "type"], rows)


def _type(kind: Mapping[str, object]) -> str:
    if "$ref" in kind:
        return str(kind["$ref"]).rsplit("/", 1)[1]
    choices = kind.get("anyOf")
    if isinstance(choices, list):
        return " or ".join(_type(choice) for choice in choices)
    items = kind.get("items")
    if isinstance(items, dict):
        return f"list of {_type(items)}"
    shape = kind.get("format")
    return f"{kind['type']} ({shape})" if shape else str(kind["type"])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(_cell(cell) for cell in line)} |" for line in lines)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
