"""The HTTP API: who may ask what, what is answered, and how it says no."""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from fastapi import Depends, FastAPI
from fastapi.routing import APIRoute
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict

from core.errors import StorageError
from core.model.health import CircuitState, HealthStatus
from core.model.overview import CallTotals, CircuitView, IntegrationOverview
from core.model.role import Role
from core.web.api import RouteWithoutRole, create_api, mounted, refuse_routes_without_role, required_role
from core.web.blocking import Blocking
from core.web.errors import answer_errors
from core.web.guard import Guard
from core.web.health import worst_status
from tests.api.conftest import Visitors, client, run_async
from tests.dashboard.fakes import FakeHub, overview
from tests.fakes import FakeClock

STRANGERS = ("anonymous", "forged", "revoked", "expired", "signed out", "revoked beside a session")


def ask(app: FastAPI, path: str, headers: dict[str, str], method: str = "GET") -> httpx.Response:
    return run(app, lambda asking: asking.request(method, path, headers=headers))


def run(app: FastAPI, act: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> httpx.Response:
    async def acting() -> httpx.Response:
        async with client(app) as asking:
            return await act(asking)

    return run_async(acting())


@pytest.mark.fault("AP-01")
@pytest.mark.fault("AP-08")
def test_every_route_answers_each_visitor_by_role_alone(hub: FakeHub, visitors: Visitors) -> None:
    api = create_api(hub)
    routes = [route for route in api.routes if isinstance(route, APIRoute)]
    roles = {role.value: role for role in Role}

    assert {route.path for route in routes} >= {"/v1/health", "/v1/integrations", "/openapi.json"}
    for route in routes:
        needed = required_role(route.dependant)
        assert needed is not None
        for visitor in visitors:
            answer = ask(api, route.path, visitors[visitor])
            role = None if visitor in STRANGERS else roles[visitor.split()[0]]
            expected = 401 if role is None else 200 if role.allows(needed) else 403
            assert answer.status_code == expected, (route.path, visitor)
            if expected == 401:
                assert answer.headers["WWW-Authenticate"] == "Bearer"
                assert "address" not in answer.text


def test_a_role_below_the_needed_one_is_refused_and_put_on_record(hub: FakeHub, visitors: Visitors) -> None:
    app = FastAPI()
    answer_errors(app)
    guard = Guard(hub, Blocking())
    noted: list[tuple[str, ...]] = []
    hub.access.note_refusal = lambda *args, address="": noted.append((*args, address))  # type: ignore[method-assign]

    @app.post("/v1/users", dependencies=[Depends(guard.requires(Role.ADMIN))])
    async def users() -> None: ...

    answer = ask(app, "/v1/users", visitors["operator program"], "POST")

    assert answer.status_code == 403
    assert answer.json()["code"] == "forbidden"
    assert noted == [("ci", "call POST", "/v1/users", "127.0.0.1")]


@pytest.mark.fault("DA-05")
def test_a_change_by_cookie_must_come_from_our_own_page(hub: FakeHub, visitors: Visitors) -> None:
    app = FastAPI()
    answer_errors(app)

    @app.post("/v1/change", dependencies=[Depends(Guard(hub, Blocking()).requires(Role.ADMIN))])
    async def change() -> str:
        return "done"

    admin = visitors["admin"]
    origins = {
        None: 401,
        "http://evil.example": 401,
        "null": 401,
        "http://127.0.0.1:8501.evil.example": 401,
        "http://127.0.0.1:8501": 200,
    }
    for origin, status in origins.items():
        headers = admin if origin is None else {**admin, "Origin": origin}
        assert ask(app, "/v1/change", headers, "POST").status_code == status, origin
    assert ask(app, "/v1/change", visitors["admin program"], "POST").status_code == 200


def test_an_api_with_a_route_that_nobody_guards_does_not_start(hub: FakeHub) -> None:
    api = create_api(hub)

    @api.get("/v1/forgotten")
    async def forgotten() -> None: ...

    with pytest.raises(RouteWithoutRole, match="/v1/forgotten"):
        refuse_routes_without_role(api)


def test_the_documentation_pages_are_off(hub: FakeHub, visitors: Visitors) -> None:
    for path in ("/docs", "/redoc", "/docs/oauth2-redirect"):
        assert ask(create_api(hub), path, visitors["admin"]).status_code == 404


statuses = st.none() | st.sampled_from(HealthStatus)
figures = st.none() | st.floats(min_value=0) | st.just(math.nan)
totals = st.builds(
    CallTotals,
    total=st.integers(0, 10_000),
    successful=st.integers(0, 10_000),
    cached=st.integers(0, 10_000),
    p50_ms=figures,
    p95_ms=figures,
    p99_ms=figures,
)
circuits = st.builds(
    CircuitView,
    provider=st.text(max_size=20),
    state=st.sampled_from(CircuitState),
    failures=st.integers(0, 99),
    retry_after_s=st.floats(min_value=0) | st.just(math.nan),
)


@st.composite
def registered(draw: st.DrawFn) -> list[IntegrationOverview]:
    """Any integrations that may be registered at one time."""
    names = draw(
        st.lists(
            st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30),
            unique=True,
            max_size=8,
        )
    )
    return [
        overview(
            name,
            draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)),
            draw(statuses),
            totals=draw(totals),
            circuits=tuple(draw(st.lists(circuits, max_size=3))),
            is_enabled=draw(st.booleans()),
            is_mock_mode=draw(st.booleans()),
        )
        for name in names
    ]


@pytest.mark.property(41)
# One fixture serves all examples: each example empties or replaces what it reads.
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(integrations=registered())
def test_the_system_health_contains_every_registered_integration(
    hub: FakeHub, visitors: Visitors, integrations: list[IntegrationOverview]
) -> None:
    """Whatever is registered, on or off, checked or never, the answer lists it, and the answer is valid JSON."""
    hub.integrations = [one if _is_json(one) else _plain(one) for one in integrations]

    answer = ask(create_api(hub), "/v1/health", visitors["viewer"])

    assert answer.status_code == 200
    told = json.loads(answer.text, parse_constant=_refuse_constant)
    assert [one["name"] for one in told["integrations"]] == [one.name for one in integrations]
    ill = [one.health.status for one in integrations if one.is_enabled and one.health]
    assert told["status"] == (max(ill, key=lambda status: status.badness).value if ill else None)


def _is_json(one: IntegrationOverview) -> bool:
    return all(circuit.provider.isprintable() for circuit in one.circuits)


def _plain(one: IntegrationOverview) -> IntegrationOverview:
    return replace(one, circuits=())


def _refuse_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_the_worst_enabled_integration_decides_the_status_of_the_system() -> None:
    well, ill = overview("a"), overview("b", status=HealthStatus.UNHEALTHY)

    assert worst_status([well, ill]) is HealthStatus.UNHEALTHY
    assert (
        worst_status([well, overview("b", status=HealthStatus.UNHEALTHY, is_enabled=False)])
        is HealthStatus.HEALTHY
    )
    assert worst_status([overview(status=None)]) is None
    assert worst_status([]) is None


def test_the_list_of_integrations_names_their_providers(hub: FakeHub, visitors: Visitors) -> None:
    """That is known without asking anything, so it is told even while the call log cannot be read."""
    hub.is_away = True

    answer = ask(create_api(hub), "/v1/integrations", visitors["viewer program"])

    assert answer.json() == [
        {
            "name": "address",
            "title": "Korean address search",
            "type": "api",
            "is_enabled": True,
            "is_mock_mode": True,
            "providers": ["juso", "kakao"],
        }
    ]


def test_a_shared_state_that_is_away_is_told_with_since_when(
    hub: FakeHub, visitors: Visitors, clock: FakeClock
) -> None:
    well = ask(create_api(hub), "/v1/health", visitors["viewer"]).json()
    hub.state_degraded_since = clock.now()
    ill = ask(create_api(hub), "/v1/health", visitors["viewer"]).json()

    assert well["shared_state"] == {"is_degraded": False, "since": None}
    assert ill["shared_state"] == {
        "is_degraded": True,
        "since": clock.now().isoformat().replace("+00:00", "Z"),
    }


def test_what_the_description_says_is_where_a_token_is_answered(hub: FakeHub, visitors: Visitors) -> None:
    """A program that is made from the description alone finds every operation, and knows how to show its token."""
    api = create_api(hub)
    described = ask(api, "/openapi.json", visitors["viewer program"]).json()
    beside_the_pages = FastAPI(routes=[mounted(api)])
    [server] = described["servers"]
    [(name, scheme)] = described["components"]["securitySchemes"].items()

    assert (scheme["type"], scheme["scheme"]) == ("http", "bearer")
    assert described["paths"]
    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            assert operation["security"] == [{name: []}]
            where = server["url"] + path
            answer = ask(beside_the_pages, where, visitors["viewer program"], method.upper())
            assert answer.status_code == 200, where
            assert ask(beside_the_pages, where, {}, method.upper()).status_code == 401


def test_the_description_tells_how_every_route_says_no(hub: FakeHub, visitors: Visitors) -> None:
    """And what it tells is what is answered."""
    api = create_api(hub)
    described = ask(api, "/openapi.json", visitors["viewer program"]).json()
    form = described["components"]["schemas"]["ErrorOut"]

    for path, operations in described["paths"].items():
        for method, operation in operations.items():
            for status in ("401", "403", "503"):
                content = operation["responses"][status]["content"]
                assert content == {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorOut"}}}
            refused = ask(api, path, {}, method.upper()).json()
            assert set(form["required"]) == form["properties"].keys() == refused.keys()


def test_an_address_with_a_slash_too_many_is_none_of_ours(hub: FakeHub, visitors: Visitors) -> None:
    """It is told so in JSON, and not sent elsewhere by a redirect that no token answers for."""
    for path in ("/v1/health/", "/v1/integrations/", "/openapi.json/"):
        answer = ask(create_api(hub), path, visitors["viewer program"])
        assert (answer.status_code, answer.json()["code"]) == (404, "not_found"), path


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    api_key: str
    count: int


@pytest.mark.fault("AP-03")
@pytest.mark.fault("AP-04")
@pytest.mark.parametrize(
    "body",
    [
        b'{"api_key": "sk_live_SECRET", "count": "sk_live_SECRET"}',
        b'{"api_key": "sk_live_SECRET"}',
        b'{"sk_live_SECRET": 1}',
        b'{"api_key": "x", "count": 1, "sk_live_SECRET": 1}',
        b'["sk_live_SECRET"]',
        b'"sk_live_SECRET',
        b"\xff\xfesk_live_SECRET",
        b'{"api_key": "\\ud800sk_live_SECRET", "count": NaN}',
        b"[" * 5_000 + b"sk_live_SECRET",
    ],
)
def test_what_was_sent_is_never_echoed(body: bytes) -> None:
    app = FastAPI()
    answer_errors(app)

    @app.post("/")
    async def take(_body: _Body) -> None: ...

    headers = {"Content-Type": "application/json"}
    answer = run(app, lambda asking: asking.post("/", content=body, headers=headers))

    assert answer.status_code in {400, 422}
    assert "SECRET" not in answer.text
    assert answer.json().keys() == {"code", "message", "trace_id"}


def test_a_lost_database_and_a_fault_of_ours_are_told_without_details() -> None:
    app = FastAPI()
    answer_errors(app)
    faults: dict[str, Exception] = {
        "/storage": StorageError("postgresql://SECRET"),
        "/fault": ValueError("SECRET"),
    }

    @app.get("/{fault}")
    async def fail(fault: str) -> None:
        raise faults[f"/{fault}"]

    async def answers() -> list[tuple[int, dict[str, Any]]]:
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as asking:
            return [
                (answer.status_code, answer.json()) for answer in [await asking.get(path) for path in faults]
            ]

    (storage_status, storage), (fault_status, fault) = run_async(answers())
    assert (storage_status, storage["code"]) == (503, "unavailable")
    assert (fault_status, fault["code"]) == (500, "internal_error")
    assert "SECRET" not in repr((storage, fault))
