"""A dump that is altered before it is sealed: the artifact is whole, opens and restores, and is FAILED by name.

pg_dump is a program of the test's own, which edits what the real one writes, byte for byte as long as before. What the
source holds is captured from the source, and the drill restores what the archive says.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.model import Verdict
from engine.model.views import DrillView
from tests.fixtures.binaries import find_toolset
from tests.fixtures.fire import Field, settings, working
from tests.fixtures.installation import Place
from tests.fixtures.program import Program

PERL = Path("/usr/bin/perl")
BASH = Path("/bin/bash")

SOURCE = (
    "CREATE TABLE customers (id serial PRIMARY KEY, name text NOT NULL)",
    "INSERT INTO customers (name) SELECT 'customer-' || n FROM generate_series(1, 500) n",
    "CREATE TABLE orders (id int PRIMARY KEY, customer_id int NOT NULL REFERENCES customers, total numeric)",
    "INSERT INTO orders SELECT n, n % 500 + 1, n / 7.0 FROM generate_series(1, 2000) n",
    "CREATE INDEX orders_by_customer ON orders (customer_id)",
)

PAD = 'sub pad { my ($text, $long) = @_; $text . " " x ($long - length $text) } '
ROWS = "s/\\tcustomer-250\\n/\\tcustomer-25x\\n/ or die;"
INDEX = 's/CREATE INDEX orders_by_customer [^;]*;/pad("SELECT 1;", length $&)/e or die;'
CONSTRAINT = (
    "s/ALTER TABLE ONLY public.orders\\n    ADD (CONSTRAINT orders_customer_id_fkey FOREIGN KEY) (\\([^;]*);"
    '/pad("ALTER TABLE public.orders ADD $1$2 NOT VALID;", length $&)/e or die;'
)
SEQUENCE = "s/(setval\\('public.customers_id_seq', )500,/${1}499,/ or die;"

FOUND = {
    ROWS: ("drill.content", "public.customers: as many rows as captured, but not the same content"),
    INDEX: ("drill.structure", "index orders_by_customer ON public.orders is missing in the restored copy"),
    CONSTRAINT: (
        "drill.structure",
        "constraint orders_customer_id_fkey ON public.orders: captured as FOREIGN KEY (customer_id) REFERENCES"
        " public.customers(id), restored as FOREIGN KEY (customer_id) REFERENCES public.customers(id) NOT VALID",
    ),
    SEQUENCE: ("drill.structure", "sequence value public.customers_id_seq: captured as 500, restored as 499"),
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PERL.exists() or not BASH.exists(), reason="there is no perl or no bash to edit with"),
]


@pytest.fixture
def edit(place: Place) -> Iterator[Path]:
    """The Perl program that pg_dump's output goes through, for as long as the installation lives."""
    real = find_toolset()
    if real.source != "system":
        pytest.skip("the programs of a wheel cannot stand in another directory")
    root = place.root / "editing"
    bindir = root / "bin"
    bindir.mkdir(parents=True)
    for program in real.bindir.iterdir():
        (bindir / program.name).symlink_to(program)
    script = root / "edit.pl"
    script.write_text("")
    (bindir / "pg_dump").unlink()
    (bindir / "pg_dump").write_text(
        f"#!{BASH}\nset -o pipefail\n"
        f'case " $* " in *" -Fc "*) {real.bindir}/pg_dump "$@" | {PERL} -0777 -p {script} ;;\n'
        f' *) exec {real.bindir}/pg_dump "$@" ;; esac\n'
    )
    (bindir / "pg_dump").chmod(0o755)
    settings(place, f"[postgres]\nbin_dirs = [{json.dumps(str(bindir))}]\n")
    yield script
    shutil.rmtree(root)


@pytest.fixture
def shop(edit: Path, field: Field) -> Field:
    """The source, saved; content is compared, too."""
    field.sql(*SOURCE)
    field.connect_through()
    field.engine.connections.set_fingerprint("shop", wanted=True)
    return field


def _drilled(shop: Field, edit: Path, program: str) -> DrillView:
    edit.write_text(PAD + program)
    with working(shop):
        attempt = shop.checkpoint()
    assert attempt.drill is not None, attempt.job.error
    return attempt.drill


def test_each_alteration_is_failed_by_name_and_the_unaltered_dump_is_proven(shop: Field, edit: Path) -> None:
    drill = _drilled(shop, edit, "")
    assert drill.verdict is Verdict.PROVEN, (drill.failures, drill.skips)
    assert drill.structure is not None
    assert drill.structure.differences == ()
    assert {c.kind for c in drill.structure.counts} >= {"table", "column", "index", "constraint", "sequence value"}
    for program, found in FOUND.items():
        drill = _drilled(shop, edit, program)
        assert drill.verdict is Verdict.FAILED
        assert [(f.code, f.message) for f in drill.failures] == [found]
        assert all(t.equal for t in drill.tables), "the counts alone would not tell"
    shop.assert_clean()


def test_all_of_them_at_once_are_named_one_by_one_and_the_command_line_says_so(shop: Field, edit: Path) -> None:
    drill = _drilled(shop, edit, "".join(FOUND))
    assert drill.verdict is Verdict.FAILED
    assert sorted((f.code, f.message) for f in drill.failures) == sorted(FOUND.values())
    said = Program(shop.place, shop.place.environment).run("receipt", drill.id)
    assert said.status == 0, said.err
    assert "3 differ" in said.out
    assert "✗ index orders_by_customer ON public.orders is missing" in said.out
    assert "restored as FOREIGN KEY (customer_id) REFERENCES public.customers(id) NOT VALID" in said.out
    assert "✗ sequence value public.customers_id_seq: captured as 500, restored as 499" in said.out
