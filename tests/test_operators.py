"""Operators, sessions and limits at the door, on both dialects, by a clock that the test moves."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from engine import catalog as catalogs
from engine.access.limits import GLOBAL
from engine.access.passwords import Cost
from engine.errors import AccessDenied, ConfigError, KeyAccessError, OffsiteError
from engine.evidence import chain
from engine.model import LoginLimit, Principal, Role, SessionKind
from engine.service import Engine, Initialised
from engine.service.access import WORKER, acting_as
from engine.service.duties import Duty
from engine.service.worker import _as_worker
from offsitedb_tui.demo.held import HeldKey
from tests.fixtures.history import StoppedClock
from tests.fixtures.people import CHEAP, CountingHasher, password_of, people
from tests.fixtures.postgres_server import create_database

SOURCE = "192.0.2.7"


class House:
    """An installation with its clock, its hasher, and as many engines on it as a test wants."""

    def __init__(self, home: Path) -> None:
        self.home, self.clock, self.held = home, StoppedClock(), HeldKey()
        self.made: Initialised = Engine.initialise(home=home, key_store=self.held)
        self.opened: list[Engine] = []
        self.engine = self.open()
        self.hasher = people(self.engine, alice=Role.ADMIN, bob=Role.OPERATOR, vera=Role.VIEWER)

    def open(self) -> Engine:
        engine = Engine.open(home=self.home, key_store=self.held, clock=self.clock)
        engine.operators.hasher = CountingHasher()
        self.opened.append(engine)
        return engine

    def later(self, **time: float) -> None:
        self.clock.at += timedelta(**time)

    def login(self, name: str, password: str | None = None, source: str = SOURCE) -> str:
        return self.engine.operators.login(name, password or password_of(name), source)

    def events(self) -> list[tuple[str, str]]:
        with self.engine.catalog.read() as tx:
            return [(e.kind, e.actor) for e in catalogs.events.list_after(tx, 0, limit=1000)]


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def house(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    if request.param == "postgresql":
        server = str(request.getfixturevalue("postgres_server"))
        monkeypatch.setenv("OFFSITEDB_DATABASE_URL", create_database(server))
    else:
        monkeypatch.delenv("OFFSITEDB_DATABASE_URL", raising=False)
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    made = House(tmp_path / "home")
    yield made
    for engine in made.opened:
        engine.close()


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(OffsiteError) as caught:
        call()
    return caught.value.code


def test_a_login_and_what_it_is_worth(house: House) -> None:
    operators = house.engine.operators
    token = house.login(" Bob ", password_of("bob"))
    assert operators.session(token) == Principal("operator:bob", Role.OPERATOR)
    assert code_of(lambda: operators.session(None)) == "access.login-required"
    assert code_of(lambda: operators.session("x" * 43)) == "access.session-ended"
    views = {o.name: o for o in operators.list()}
    assert views["bob"].sessions == 1
    assert views["bob"].last_login_at == house.clock.at
    operators.logout(token)
    operators.logout(token)
    assert code_of(lambda: operators.session(token)) == "access.session-ended"
    assert ("operator.logged-in", "operator:bob") in house.events()
    assert house.events().count(("operator.logged-out", "operator:bob")) == 1


def test_idle_and_absolute_ends(house: House) -> None:
    operators = house.engine.operators
    token = house.login("bob")
    for _ in range(3):
        house.later(minutes=14)
        operators.session(token)
    house.later(minutes=14)
    operators.session(token, active=False)
    house.later(minutes=1)
    assert "15 minutes" in _message(lambda: operators.session(token))
    token = house.login("bob")
    for _ in range(71):
        house.later(minutes=10)
        operators.session(token)
    house.later(minutes=10)
    assert "12 hours" in _message(lambda: operators.session(token))


def _message(call: Callable[[], object]) -> str:
    with pytest.raises(AccessDenied) as caught:
        call()
    return caught.value.message


def test_reset_disable_enable_and_role_end_every_session(house: House) -> None:
    operators = house.engine.operators
    changes: tuple[Callable[[], object], ...] = (
        lambda: operators.reset("bob", password_of("bob")),
        lambda: operators.set_role("bob", Role.VIEWER),
        lambda: operators.disable("bob"),
    )
    for change in changes:
        tokens = [house.login("bob"), house.login("bob")]
        other = house.login("vera")
        change()
        assert {code_of(lambda t=t: operators.session(t)) for t in tokens} == {"access.session-ended"}  # type: ignore[misc]
        operators.session(other)
    assert code_of(lambda: house.login("bob")) == "access.disabled"
    operators.enable("bob")
    assert operators.session(house.login("bob")).role is Role.VIEWER
    kinds = [kind for kind, _ in house.events()]
    assert {"operator.reset", "operator.role-set", "operator.disabled", "operator.enabled"} <= set(kinds)


def test_there_is_always_an_admin(house: House) -> None:
    operators = house.engine.operators
    assert code_of(lambda: operators.disable("alice")) == "access.last-admin"
    assert code_of(lambda: operators.set_role("alice", Role.VIEWER)) == "access.last-admin"
    operators.set_role("bob", Role.ADMIN)
    operators.disable("alice")
    assert code_of(lambda: operators.disable("bob")) == "access.last-admin"
    assert code_of(lambda: operators.set_role("bob", Role.OPERATOR)) == "access.last-admin"


def test_two_admins_who_disable_each_other_leave_one(house: House) -> None:
    house.engine.operators.set_role("bob", Role.ADMIN)
    said: list[str] = []

    def disable(name: str) -> None:
        try:
            house.engine.operators.disable(name)
        except AccessDenied as e:
            said.append(e.code)

    threads = [threading.Thread(target=disable, args=(name,)) for name in ("alice", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said == ["access.last-admin"]
    assert len([o for o in house.engine.operators.list() if o.role is Role.ADMIN and o.disabled_at is None]) == 1


def test_who_may_be_added(house: House, tmp_path: Path) -> None:
    operators = house.engine.operators
    assert code_of(lambda: operators.add("Alice", Role.VIEWER, password_of("x"))) == "config.name-taken"
    assert code_of(lambda: operators.add("a b", Role.VIEWER, password_of("x"))) == "config.invalid"
    assert code_of(lambda: operators.add("carol", Role.VIEWER, "too short")) == "config.password"
    assert code_of(lambda: operators.reset("nobody", password_of("x"))) == "config.not-found"
    operators.disable("vera")
    assert code_of(lambda: operators.add("vera", Role.VIEWER, password_of("x"))) == "config.name-taken"


def test_one_message_and_one_cost_for_all(house: House) -> None:
    """Hashes are counted, not seconds: an unknown name costs the same as a wrong password."""
    house.engine.operators.disable("vera")
    told: set[tuple[str, str, str]] = set()
    for name, password in (
        ("bob", "wrong"),
        ("nobody", "wrong"),
        ("vera", "wrong"),
        ("", ""),
        ("x" * 5000, "y" * 5000),
    ):
        house.hasher.costs.clear()
        with pytest.raises(AccessDenied) as caught:
            house.engine.operators.login(name, password, f"192.0.2.{len(told)}-{name[:3]}")
        told.add((caught.value.code, caught.value.message, caught.value.hint))
        assert house.hasher.costs == [CHEAP]
    assert len(told) == 1


def test_five_free_failures_then_waiting_and_never_for_good(house: House) -> None:
    for _ in range(5):
        assert code_of(lambda: house.login("bob", "wrong")) == "access.login"
    assert code_of(lambda: house.login("bob", "wrong")) == "access.login"
    house.hasher.costs.clear()
    assert code_of(lambda: house.login("bob")) == "access.rate-limited"
    assert house.hasher.costs == [], "whoever has to wait costs nothing"
    house.later(seconds=2)
    house.engine.operators.session(house.login("bob"))
    for _ in range(30):
        house.later(minutes=15)
        assert code_of(lambda: house.login("bob", "wrong", "198.51.100.1")) == "access.login"
    house.later(minutes=15)
    house.login("bob")


def test_the_account_the_source_and_all_of_them_count(house: House) -> None:
    for n in range(6):
        assert code_of(lambda n=n: house.login("bob", "wrong", f"192.0.2.{n}")) == "access.login"  # type: ignore[misc]
    assert code_of(lambda: house.login("bob", source="203.0.113.9")) == "access.rate-limited"
    house.login("alice", source="203.0.113.9")
    for n in range(6):
        assert code_of(lambda n=n: house.login(f"guess{n}", "wrong", "203.0.113.77")) == "access.login"  # type: ignore[misc]
    assert code_of(lambda: house.login("alice", source="203.0.113.77")) == "access.rate-limited"
    with house.engine.catalog.write() as tx:
        catalogs.login_limits.put(tx, LoginLimit(GLOBAL, 100, house.clock.at))
    assert code_of(lambda: house.login("guess", "wrong", "203.0.114.1")) == "access.login"
    assert code_of(lambda: house.login("alice", source="203.0.115.1")) == "access.rate-limited"
    house.later(seconds=30)
    house.login("alice", source="203.0.115.1")


def test_ones_own_password_does_not_let_one_guess_others(house: House) -> None:
    """A login that goes well gives the source nothing back but the attempt that it was."""
    for n in range(5):
        assert code_of(lambda n=n: house.login(f"guess{n}", "wrong")) == "access.login"  # type: ignore[misc]
        house.login("vera")
    assert code_of(lambda: house.login("guess", "wrong")) == "access.login"
    assert code_of(lambda: house.login("vera")) == "access.rate-limited"


def test_who_guesses_with_many_hands_gets_no_more_tries(house: House) -> None:
    said: list[str] = []

    def guess() -> None:
        try:
            house.login("bob", "wrong")
        except AccessDenied as e:
            said.append(e.code)

    threads = [threading.Thread(target=guess) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert said.count("access.login") == 6
    assert said.count("access.rate-limited") == 18


def test_two_logins_at_once_are_two_sessions(house: House) -> None:
    tokens: list[str] = []
    threads = [threading.Thread(target=lambda: tokens.append(house.login("bob"))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(tokens)) == 4
    assert {house.engine.operators.session(token).actor for token in tokens} == {"operator:bob"}


def test_a_reset_between_hash_and_session_is_not_survived(house: House) -> None:
    """Whoever logs in with the old password while it is changed does not get in."""
    other = house.open()

    class Slow(CountingHasher):
        def verify(self, phc: str | None, password: str) -> bool:
            right = super().verify(phc, password)
            other.operators.reset("bob", password_of("new bob"))
            return right

    house.engine.operators.hasher = Slow()
    assert code_of(lambda: house.login("bob")) == "access.login"
    house.engine.operators.hasher = house.hasher
    house.login("bob", password_of("new bob"))


def test_a_reset_while_the_session_is_used(house: House) -> None:
    """Verbs that were let in come to their end; none is let in after the reset has answered."""
    token = house.login("bob")
    using, stop = house.open(), threading.Event()
    using.operators.enter(token)
    begun: list[int] = []
    ended: list[OffsiteError] = []

    def use() -> None:
        while not stop.is_set():
            try:
                using.connections.read("postgresql://u@h/d")
                using.operators.whoever()
                begun.append(1)
            except OffsiteError as e:
                ended.append(e)
                return

    thread = threading.Thread(target=use)
    thread.start()
    while len(begun) < 3:
        thread.join(0.01)
    house.engine.operators.reset("bob", password_of("bob"))
    assert code_of(lambda: using.jobs.checkpoint("x")) == "access.session-ended"
    thread.join(20)
    stop.set()
    assert [e.code for e in ended] == ["access.session-ended"]


def test_the_password_once_more(house: House) -> None:
    engine = house.open()
    operators = engine.operators
    token = house.login("alice")
    operators.enter(token)
    operators.disable("vera")
    house.later(minutes=5, seconds=1)
    assert operators.session(token).confirmed is False
    assert code_of(lambda: operators.enable("vera")) == "access.confirm"
    with acting_as(operators.session(token)):
        assert code_of(lambda: operators.enable("vera")) == "access.confirm"
    assert code_of(lambda: operators.confirm(token, "wrong")) == "access.login"
    operators.confirm(token, password_of("alice"))
    operators.enable("vera")
    house.later(minutes=6)
    asked: list[str] = []

    def ask() -> str:
        asked.append(password_of("alice"))
        return asked[-1]

    operators.enter(token, ask=ask)
    operators.disable("vera")
    operators.enable("vera")
    assert len(asked) == 1
    house.later(minutes=6)
    operators.enter(token, ask=lambda: "wrong")
    assert code_of(lambda: operators.disable("vera")) == "access.login"
    assert ("operator.confirm-failed", f"source:{SOURCE}") in house.events()


def test_who_the_engine_acts_for(house: House) -> None:
    engine = house.open()
    assert engine.principal == engine.own, "a library: whoever opened it"
    engine.operators.enter(None)
    assert code_of(lambda: engine.principal) == "access.login-required"
    engine.operators.enter(house.login("vera"))
    assert engine.actor == "operator:vera"
    assert code_of(lambda: engine.jobs.checkpoint("x")) == "access.role"
    engine.operators.enter(house.login("bob"))
    assert code_of(lambda: engine.jobs.checkpoint("x")) == "config.not-found"
    assert code_of(lambda: engine.operators.add("eve", Role.ADMIN, password_of("eve"))) == "access.role"
    with acting_as(WORKER):
        assert engine.actor == "worker"


def test_without_operators_everything_is_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OFFSITEDB_DATABASE_URL", raising=False)
    monkeypatch.setenv("OFFSITEDB_RUNTIME", str(tmp_path / "runtime"))
    held = HeldKey()
    Engine.initialise(home=tmp_path / "home", key_store=held)
    with Engine.open(home=tmp_path / "home", key_store=held) as engine:
        engine.operators.hasher = CountingHasher()
        engine.operators.enter(None)
        assert engine.operators.attend() == engine.own
        engine.destinations.add_folder("here", tmp_path / "there")
        engine.operators.enter(None, alone=False)
        assert code_of(lambda: engine.principal) == "access.login-required", "the first who comes is not the admin"
        engine.operators.enter(None)
        assert code_of(lambda: engine.operators.add("bob", Role.OPERATOR, password_of("bob"))) == "config.invalid"
        engine.operators.add("alice", Role.ADMIN, password_of("alice"))
        assert code_of(lambda: engine.destinations.remove("here")) == "access.login-required"


def test_duties_are_the_workers(house: House) -> None:
    engine = house.open()
    engine.operators.enter(None)
    actors: list[str] = []
    thread = threading.Thread(target=_as_worker(Duty("x", 1, lambda: actors.append(engine.actor))).run)
    thread.start()
    thread.join()
    assert actors == ["worker"]


def test_a_password_is_hashed_anew_when_the_cost_rises(house: House) -> None:
    house.engine.operators.hasher = dearer = CountingHasher(Cost(ln=5))
    token = house.login("bob")
    assert dearer.costs == [CHEAP, Cost(ln=5)]
    dearer.costs.clear()
    house.login("bob")
    assert dearer.costs == [Cost(ln=5)]
    house.engine.operators.session(token)


def test_the_recovery_code_lets_somebody_in(house: House) -> None:
    operators = house.engine.operators
    token = house.login("vera")
    with pytest.raises(KeyAccessError):
        operators.recover("vera", password_of("new"), "odbr1 nonsense")
    with pytest.raises(ConfigError):
        operators.recover("nobody", password_of("new"), house.made.code.text)
    operators.recover("vera", password_of("new"), house.made.code.text)
    assert code_of(lambda: operators.session(token)) == "access.session-ended"
    assert operators.session(house.login("vera", password_of("new"))).role is Role.ADMIN
    assert ("operator.recovered", "recovery-code") in house.events()


def test_changing_ones_own_password(house: House) -> None:
    engine = house.open()
    token = house.login("vera")
    engine.operators.enter(token)
    engine.operators.change_password(password_of("new"))
    assert code_of(lambda: engine.principal) == "access.session-ended"
    assert code_of(lambda: house.login("vera")) == "access.login"
    house.login("vera", password_of("new"))
    assert code_of(lambda: house.engine.operators.change_password(password_of("x"))) == "access.login-required"


def test_a_browser_is_a_session_like_any_other(house: House) -> None:
    token = house.engine.operators.login("bob", password_of("bob"), SOURCE, SessionKind.BROWSER)
    with acting_as(house.engine.operators.session(token)):
        assert house.engine.actor == "operator:bob"


def test_the_catalog_holds_no_password_and_no_token(house: House) -> None:
    secrets = [password_of(name) for name in ("alice", "bob", "vera")]
    secrets += [house.login("alice"), house.login("bob"), "a-password-in-the-wrong-line"]
    assert code_of(lambda: house.login("a-password-in-the-wrong-line", "x")) == "access.login"
    everything = _dump(house.engine)
    assert "operator.logged-in" in everything
    assert [secret for secret in secrets if secret in everything] == []
    with house.engine.catalog.read() as tx:
        found = catalogs.installation.get(tx)
        assert found is not None
        assert [
            f for f in chain.verify_chain(tx, found.signer_public) if f.kind is not chain.FindingKind.MISSING_HEAD
        ] == []


def _dump(engine: Engine) -> str:
    """Every row of every table; on SQLite the files themselves, too."""
    from engine.catalog.schema import metadata

    with engine.catalog._connection("read") as connection:
        rows = [str(connection.execute(text(f"SELECT * FROM {name}")).all()) for name in metadata.tables]
    files = [p.read_bytes().decode("latin-1") for p in engine.paths.home.glob("catalog.sqlite3*")]
    return "".join(rows + files)
