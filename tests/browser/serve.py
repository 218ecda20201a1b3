"""Starts the web process on made-up integrations: `python -m tests.browser.serve DATA_DIR PORT [broken]`.

The dashboard, the gate and the sign-in are the real ones. One provider's message and title try to be markup.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final, NoReturn

from core.clock import SystemClock
from core.model.health import CircuitState, HealthCheck, HealthStatus
from core.model.overview import CallTotals, CircuitView
from core.model.role import Role
from core.persistence import schema
from core.persistence.database import Database
from dashboard import data
from tests.dashboard.fakes import PASSWORD, FakeHub, checks, overview, settings_at

CANARY: Final = "http://canary.invalid"
HOSTILE: Final = (
    f"<script>window.pwned=1</script><img src=x onerror='window.pwned=1'> ![x]({CANARY}/a.png) "
    f"[click](javascript:window.pwned=1) {CANARY}/b :material/bolt: $\\sqrt{{2}}$ **bold** `code` \u202e"
)
_H, _D, _U = HealthStatus.HEALTHY, HealthStatus.DEGRADED, HealthStatus.UNHEALTHY


def build(directory: Path, port: int) -> FakeHub:
    """A hub with a user of each role, and one integration of each kind of trouble."""
    database = Database.at(f"sqlite:///{directory / 'bongsu.db'}")
    schema.upgrade(database)
    hub = FakeHub(database, SystemClock(), settings_at(directory, port=port))
    for role in Role:
        hub.access.create_user(role.value, PASSWORD, role, by="test")
    now = hub.clock.now()
    hub.integrations = [
        overview(at=now, is_mock_mode=True),
        overview(
            "hostile",
            f"사업자 조회 {HOSTILE}",
            _U,
            at=now,
            message=HOSTILE,
            circuits=(CircuitView(f"nice {HOSTILE}", CircuitState.OPEN, 5, 42.0),),
            totals=CallTotals(total=90, successful=12, failed=78, p95_ms=9_870.0),
        ),
        overview(
            "email", "이메일", _D, at=now, message="ses is slow.", totals=CallTotals(total=3, successful=3)
        ),
        overview("sms", "문자", None, totals=CallTotals(), circuits=()),
    ]
    hub.checks = {
        "address": checks("address", [_H] * 41 + [_D] * 2 + [_U] * 3 + [_H] * 14, at=now),
        "hostile": checks("hostile", [_U] * 6 + [_H] * 20, at=now),
        "email": checks("email", [_D, _H, _H], at=now),
    }
    return hub


class Broken(dict[str, list[HealthCheck]]):
    """Checks that cannot be read, for a reason that nobody has thought of."""

    def get(self, *_: object) -> NoReturn:
        raise RuntimeError("SECRET of the inside")


def main() -> None:
    """Serve until told to stop."""
    directory, port = Path(sys.argv[1]), int(sys.argv[2])
    hub = build(directory, port)
    if "broken" in sys.argv:
        hub.checks = Broken()
    data.use(hub)
    from dashboard.app import app

    sys.argv = [str(Path(data.__file__).with_name("app.py"))]
    app.run(config={"server.address": "127.0.0.1", "server.port": port})


if __name__ == "__main__":
    main()
