"""Who may come in, on both kinds of database."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest

from core.access.access import Access
from core.access.passwords import Passwords
from core.crypto import Keyring
from core.errors import AccessRefused
from core.model.role import Role
from core.persistence import audit
from core.persistence.audit import AuditEntry
from core.persistence.database import Database
from tests.dashboard.fakes import PASSWORD, settings_at
from tests.fakes import FakeClock

HOME = "127.0.0.1"


@pytest.fixture
def access(database: Database, clock: FakeClock, tmp_path: Path) -> Access:
    settings = settings_at(tmp_path, session_idle_minutes=60, session_max_hours=12)
    return Access(database, clock, settings, Keyring.in_memory())


@pytest.fixture
def admin(access: Access) -> str:
    access.create_user("admin", PASSWORD, Role.ADMIN, by="test")
    return access.sign_in("admin", PASSWORD, HOME)


def trail(database: Database) -> list[AuditEntry]:
    with database.reading() as connection:
        return audit.latest(connection, 100)


def refused(act: Callable[[], object]) -> str:
    with pytest.raises(AccessRefused) as caught:
        act()
    return str(caught.value)


def test_who_signs_in_is_known_by_the_token_until_signing_out(access: Access, admin: str) -> None:
    signed_in = access.session(admin)

    assert signed_in is not None
    assert (signed_in.name, signed_in.role) == ("admin", Role.ADMIN)
    assert access.session_by_sid(signed_in.sid, counts_as_use=False) == signed_in
    access.sign_out(admin)
    assert access.session(admin) is None
    assert access.session_by_sid(signed_in.sid, counts_as_use=False) is None


def test_every_refusal_to_sign_in_has_the_same_words(access: Access, admin: str) -> None:
    access.create_user("gone", PASSWORD, Role.VIEWER, by="test")
    access.set_active("gone", is_active=False, by="test")

    reasons = {
        refused(lambda: access.sign_in("admin", "a wrong password", HOME)),
        refused(lambda: access.sign_in("nobody", PASSWORD, HOME)),
        refused(lambda: access.sign_in("gone", PASSWORD, HOME)),
        refused(lambda: access.sign_in("no name\0 at all", PASSWORD, HOME)),
    }

    assert len(reasons) == 1


@pytest.mark.fault("DA-05")
def test_after_five_failures_even_the_right_password_has_to_wait(
    access: Access, admin: str, clock: FakeClock
) -> None:
    for _ in range(5):
        refused(lambda: access.sign_in("admin", "a wrong password", HOME))

    refused(lambda: access.sign_in("ADMIN", PASSWORD, HOME))
    clock.advance(30)
    assert access.session(access.sign_in("admin", PASSWORD, HOME)) is not None
    assert access.session(access.sign_in("admin", PASSWORD, HOME)) is not None, (
        "a success forgets the failures"
    )


def test_a_new_password_opens_an_account_that_others_keep_shut(access: Access, admin: str) -> None:
    """Whoever fails on purpose can make its owner wait; whoever runs the machine can end that."""
    for _ in range(5):
        refused(lambda: access.sign_in("admin", "a wrong password", "10.0.0.9"))
    refused(lambda: access.sign_in("admin", PASSWORD, HOME))

    access.set_password("Admin", "another beacon on the hill", by="test")

    assert access.session(access.sign_in("admin", "another beacon on the hill", HOME)) is not None


def test_a_session_goes_on_while_others_keep_its_account_shut(access: Access, admin: str) -> None:
    for _ in range(9):
        refused(lambda: access.sign_in("admin", "a wrong password", "10.0.0.9"))

    assert access.session(admin) is not None


@pytest.mark.fault("DA-05")
def test_one_address_that_tries_many_names_has_to_wait(access: Access, admin: str) -> None:
    for number in range(20):
        refused(partial(access.sign_in, f"name{number}", PASSWORD, "10.0.0.9"))

    refused(lambda: access.sign_in("admin", PASSWORD, "10.0.0.9"))
    assert access.session(access.sign_in("admin", PASSWORD, HOME)) is not None, "from elsewhere it works"


@pytest.mark.fault("DA-05")
def test_tries_at_the_same_moment_do_not_slip_through_the_throttle(
    access: Access, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    checked: list[str] = []
    check = Passwords.check

    def counting(self: Passwords, stored: str | None, password: str) -> bool:
        checked.append(password)
        return check(self, stored, password)

    monkeypatch.setattr(Passwords, "check", counting)
    start = threading.Barrier(12)

    def guess() -> None:
        start.wait()
        refused(lambda: access.sign_in("admin", "a wrong password", HOME))

    threads = [threading.Thread(target=guess) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(checked) == 5


def test_a_session_ends_when_it_is_not_used(access: Access, admin: str, clock: FakeClock) -> None:
    clock.advance(59 * 60)
    assert access.session(admin) is not None
    clock.advance(59 * 60)
    assert access.session(admin) is not None, "each use begins the hour anew"
    clock.advance(60 * 60)
    assert access.session(admin) is None


def test_looking_after_a_session_does_not_keep_it_alive(access: Access, admin: str, clock: FakeClock) -> None:
    signed_in = access.session(admin)
    assert signed_in is not None
    for _ in range(4):
        clock.advance(15 * 60)
        access.session_by_sid(signed_in.sid, counts_as_use=False)

    assert access.session(admin) is None


def test_a_session_ends_after_twelve_hours_however_much_it_is_used(
    access: Access, admin: str, clock: FakeClock
) -> None:
    for _ in range(23):
        clock.advance(30 * 60)
        assert access.session(admin) is not None

    clock.advance(30 * 60)
    assert access.session(admin) is None


@pytest.mark.fault("DA-04")
@pytest.mark.parametrize("change", ["password", "role", "off"])
def test_a_new_password_a_new_role_and_switching_off_end_every_session(
    access: Access, admin: str, change: str
) -> None:
    access.create_user("kim", PASSWORD, Role.OPERATOR, by="admin")
    tokens = [access.sign_in("kim", PASSWORD, HOME) for _ in range(2)]

    if change == "password":
        access.set_password("kim", "another long password", by="admin")
    elif change == "role":
        access.set_role("kim", Role.VIEWER, by="admin")
    else:
        access.set_active("kim", is_active=False, by="admin")

    assert [access.session(token) for token in tokens] == [None, None]
    assert access.session(admin) is not None


def test_the_last_administrator_stays_one(access: Access, admin: str) -> None:
    refused(lambda: access.set_role("admin", Role.VIEWER, by="admin"))
    refused(lambda: access.set_active("admin", is_active=False, by="admin"))

    access.create_user("second", PASSWORD, Role.ADMIN, by="admin")
    access.set_role("admin", Role.VIEWER, by="second")
    assert {user.name: user.role for user in access.users()} == {"admin": Role.VIEWER, "second": Role.ADMIN}


def test_a_name_is_taken_once_and_unfit_users_are_not_made(access: Access, admin: str) -> None:
    assert "taken" in refused(lambda: access.create_user("Admin", PASSWORD, Role.VIEWER, by="admin"))
    assert "too_short" in refused(lambda: access.create_user("kim", "short", Role.VIEWER, by="admin"))
    assert "name" in refused(lambda: access.create_user("a b", PASSWORD, Role.VIEWER, by="admin"))
    assert "no such user" in refused(lambda: access.set_password("nobody", PASSWORD, by="admin"))
    assert [user.name for user in access.users()] == ["admin"]


def test_the_setup_token_makes_the_first_administrator_once(access: Access) -> None:
    assert access.needs_setup()
    token = access.new_setup_token()
    refused(lambda: access.complete_setup(token, "first", "short"))

    access.complete_setup(token, "first", PASSWORD)

    assert not access.needs_setup()
    refused(lambda: access.complete_setup(token, "second", PASSWORD))
    refused(access.new_setup_token)
    assert [(user.name, user.role) for user in access.users()] == [("first", Role.ADMIN)]


def test_a_setup_token_ends_after_an_hour_and_when_a_newer_one_is_made(
    access: Access, clock: FakeClock
) -> None:
    older, newer = access.new_setup_token(), access.new_setup_token()

    refused(lambda: access.complete_setup(older, "first", PASSWORD))
    clock.advance(3600)
    refused(lambda: access.complete_setup(newer, "first", PASSWORD))
    assert access.needs_setup()


def test_of_many_who_use_the_setup_token_at_once_one_becomes_administrator(access: Access) -> None:
    token = access.new_setup_token()
    start = threading.Barrier(6)
    made: list[str] = []

    def complete(name: str) -> None:
        start.wait()
        try:
            access.complete_setup(token, name, PASSWORD)
        except AccessRefused:
            return
        made.append(name)

    threads = [threading.Thread(target=complete, args=(f"admin{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(made) == 1
    assert [user.name for user in access.users()] == made


def test_an_api_token_is_known_until_it_ends_or_is_revoked(
    access: Access, admin: str, clock: FakeClock
) -> None:
    lasting = access.create_api_token("ci", Role.VIEWER, by="admin")
    ending = access.create_api_token("week", Role.ADMIN, by="admin", expires=clock.now() + timedelta(days=7))

    caller = access.api_token(ending.secret)
    assert caller is not None
    assert (caller.name, caller.role) == ("week", Role.ADMIN)
    clock.advance(7 * 86_400)
    assert access.api_token(ending.secret) is None
    assert access.api_token(lasting.secret) is not None
    access.revoke_api_token(lasting.id, by="admin")
    assert access.api_token(lasting.secret) is None
    refused(lambda: access.revoke_api_token(lasting.id, by="admin"))


def test_use_of_a_token_is_noted_at_most_once_a_minute(access: Access, admin: str, clock: FakeClock) -> None:
    made = access.create_api_token("ci", Role.VIEWER, by="admin")
    begun = clock.now()
    access.api_token(made.secret)
    clock.advance(59)
    access.api_token(made.secret)

    assert access.api_tokens()[0].last_used_at == begun
    clock.advance(1)
    access.api_token(made.secret)
    assert access.api_tokens()[0].last_used_at == begun + timedelta(seconds=60)


def test_every_change_and_every_refusal_is_on_record(access: Access, admin: str, database: Database) -> None:
    access.create_user("kim", PASSWORD, Role.VIEWER, by="admin")
    access.set_role("kim", Role.OPERATOR, by="admin")
    refused(lambda: access.sign_in("kim", "a wrong password", "10.0.0.9"))
    refused(lambda: access.sign_in("my secret typed as a name", PASSWORD, HOME))
    token = access.create_api_token("ci", Role.VIEWER, by="admin")
    access.revoke_api_token(token.id, by="admin")
    access.note_refusal("kim", "call POST", "/api/v1/users", address=HOME)
    access.sign_out(admin)

    entries = [
        (entry.actor, entry.action, entry.subject, entry.is_allowed) for entry in reversed(trail(database))
    ]
    assert sorted(entries) == sorted(
        [
            ("test", "create user", "admin", True),
            ("admin", "sign in", "admin", True),
            ("admin", "create user", "kim", True),
            ("admin", "set role", "kim", True),
            ("kim", "sign in", "kim", False),
            ("(unknown)", "sign in", "(unknown)", False),
            ("admin", "create API token", "ci", True),
            ("admin", "revoke API token", str(token.id), True),
            ("kim", "call POST", "/api/v1/users", False),
            ("admin", "sign out", "admin", True),
        ]
    )


def test_no_password_and_no_token_is_stored_as_it_is(access: Access, admin: str, database: Database) -> None:
    made = access.create_api_token("ci", Role.VIEWER, by="admin")
    user = access.users()[0]
    token = access.api_tokens()[0]

    assert user.password_hash.startswith("$argon2id$")
    assert PASSWORD not in user.password_hash
    assert made.secret.encode() not in token.token_hash
    everything = repr(trail(database)) + repr(user) + repr(token) + repr(made)
    for secret in (PASSWORD, admin, made.secret, user.password_hash):
        assert secret not in everything
