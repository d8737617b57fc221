"""Passwords, limits and tokens: pure rules."""

from __future__ import annotations

import hashlib
import threading
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.access import limits, passwords, tokens
from engine.access.passwords import Cost, Hasher, objection
from engine.model import LoginLimit
from tests.fixtures.people import CHEAP

NOW = datetime(2026, 11, 23, 14, tzinfo=UTC)
BAD = (
    *("", "short", "fourteen chars", "passwordpassword", "Password1234567", "P@ssw0rdP@ssw0rd", "qwertyuiopasdfghjkl"),
    *("aaaaaaaaaaaaaaaa", "123456789012345678", "abcabcabcabcabcabc", "alice-alice-alice-1", "alice1234567890"),
    *("correct horse battery staple", "offsitedbpassword2026", "iloveyouiloveyou!!", "letmeinletmein123"),
    *("xk2mxk2mxk2mxk2m", "9876543210987654", "Summer-Winter-2026", "tab\tin the middle of it", "x" * 2000),
)
GOOD = (
    *("tall green river walks", "Zr8#kk2Lq!0pWmn", "mein Hund heißt Wuff", "ein kleiner Esel am Bach"),
    *("9f8e7d6c5b4a3210", "почему бы и нет, друг", "漢字でも十五文字あれば大丈夫ですよね"),
)


@pytest.mark.parametrize("password", BAD)
def test_what_cannot_be_a_password(password: str) -> None:
    assert objection(password, "alice") is not None


@pytest.mark.parametrize("password", GOOD)
def test_what_can_be_one(password: str) -> None:
    """There are no rules of composition: no digit, no capital, no sign is asked for."""
    assert objection(password, "alice") is None


def test_the_cost_of_the_product_and_the_form_of_its_strings() -> None:
    hasher = Hasher()
    assert hasher.cost == Cost(ln=17, r=8, p=1)
    phc = hasher.hash("a password of mine")
    assert phc.startswith("$scrypt$ln=17,r=8,p=1$")
    assert hasher.verify(phc, "a password of mine")


def test_strings_of_another_cost_are_understood_and_outdated() -> None:
    old, new = Hasher(Cost(ln=3)), Hasher(CHEAP)
    phc = old.hash("a password of mine")
    assert new.verify(phc, "a password of mine")
    assert not new.verify(phc, "a password of mime")
    assert new.outdated(phc)
    assert not new.outdated(new.hash("a password of mine"))
    assert old.hash("x") != old.hash("x"), "each has a salt of its own"


def test_it_is_scrypt() -> None:
    phc = Hasher(CHEAP).hash("é")  # e and an accent: every keyboard means the same
    salt, hashed = (passwords._unb64(part) for part in phc.split("$")[3:])
    assert len(salt) == 16
    assert hashed == hashlib.scrypt("é".encode(), salt=salt, n=16, r=8, p=1, dklen=32)


@pytest.mark.parametrize(
    "phc",
    [
        "",
        "x",
        "$scrypt$ln=40,r=8,p=1$" + "A" * 22 + "$" + "A" * 43,
        "$scrypt$ln=17,r=99,p=1$" + "A" * 22 + "$" + "A" * 43,
        "$scrypt$ln=0,r=8,p=1$" + "A" * 22 + "$" + "A" * 43,
        "$argon2id$ln=17,r=8,p=1$" + "A" * 22 + "$" + "A" * 43,
    ],
)
def test_a_damaged_string_is_refused_before_it_costs_anything(phc: str) -> None:
    with pytest.raises(ValueError):
        Hasher(CHEAP).verify(phc, "x")


def test_at_most_two_hashes_at_once() -> None:
    inside, most, lock, gate = 0, 0, threading.Lock(), threading.Barrier(2, timeout=10)

    class Watched(Hasher):
        def derive(self, password: str, salt: bytes, cost: Cost) -> bytes:
            return super().derive(password, salt, cost)

    real = hashlib.scrypt

    def counted(*args: object, **kwargs: object) -> bytes:
        nonlocal inside, most
        with lock:
            inside += 1
            most = max(most, inside)
        gate.wait()  # two are in here, and nobody else can come
        with lock:
            inside -= 1
        return real(*args, **kwargs)  # type: ignore[arg-type]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(hashlib, "scrypt", counted)
        threads = [threading.Thread(target=lambda: Watched(CHEAP).hash("x")) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert most == 2


def after(failures: int, scope: str = "account:x") -> LoginLimit:
    found: LoginLimit | None = None
    for _ in range(failures):
        found = limits.failed(scope, found, NOW)
    assert found is not None
    return found


def test_five_are_free_then_the_wait_doubles_up_to_a_quarter_of_an_hour() -> None:
    waits = [limits.waits_s(after(n), NOW) for n in range(1, 20)]
    assert waits == [0] * 5 + [2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900, 900, 900, 900]


def test_all_together_never_wait_for_long() -> None:
    assert limits.waits_s(after(100, limits.GLOBAL), NOW) == 0
    assert limits.waits_s(after(1000, limits.GLOBAL), NOW) == 30


def test_failures_are_forgotten() -> None:
    later = NOW + timedelta(hours=1, seconds=1)
    assert limits.failed("account:x", after(15), later).failures == 1
    assert limits.waits_s(after(15), later) == 0


@given(st.integers(1, 40))
def test_what_went_well_is_taken_back(failures: int) -> None:
    found = limits.taken_back(after(failures), NOW)
    assert found.failures == failures - 1
    assert limits.waits_s(found, NOW) == (limits.waits_s(after(failures - 1), NOW) if failures > 1 else 0)


def test_where_failures_count() -> None:
    scopes = limits.scopes("my-secret-typed-in-the-wrong-line", "2001:db8:1:2:3:4:5:6")
    assert "secret" not in "".join(scopes)
    assert scopes[1] == "source:2001:db8:1:2::/64"
    assert limits.network("::ffff:10.0.0.1") == "10.0.0.1"
    assert limits.network("fe80::1%eth0") == "fe80::/64"
    assert limits.network("local") == "local"
    assert len(limits.network("x" * 1000)) == 100


def test_tokens() -> None:
    made = {tokens.new() for _ in range(100)}
    assert len(made) == 100
    assert {len(token) for token in made} == {tokens.CHARS}
    assert tokens.digest("x") == hashlib.sha256(b"x").hexdigest()
