"""Change tracking as the source: the version as a literal, and the check that no change was forgotten.

The test server keeps what a test tells it of changes: that a real one keeps and forgets them by itself is not
tested here.
"""

from __future__ import annotations

import pytest

from hwm_magics.errors import BlockedError

CHANGES = """
SELECT ct.SYS_CHANGE_VERSION, ct.SYS_CHANGE_OPERATION, ct.id, o.amount
FROM CHANGETABLE(CHANGES dbo.orders, :watermark) AS ct
LEFT JOIN dbo.orders AS o WITH (NOLOCK) ON o.id = ct.id
"""


@pytest.fixture
def tracked(erp, facade):
    """Two orders; the second has changed twice."""
    erp.create("dbo.orders", "id int NOT NULL PRIMARY KEY", "amount decimal(9,2)")
    erp.insert("dbo.orders", (1, "1.00"), (2, "2.50"))
    facade.database.tracked = {"dbo.orders": (0, [(1, "I", 1), (3, "I", 2)])}
    yield facade
    facade.database.tracked = {}


@pytest.fixture
def made(tracked, load):
    return load(
        query=CHANGES,
        incremental={"column": "SYS_CHANGE_VERSION", "initial_value": 0, "lag": 0},
        write={"mode": "upsert", "keys": ["id"]},
    )


def test_the_changes_since_the_watermark_come(tracked, made):
    assert made.run().rows_written == 2
    made.erp.run("UPDATE dbo.orders SET amount = 9 WHERE id = 1")
    tracked.database.tracked = {"dbo.orders": (2, [(3, "I", 2), (4, "U", 1)])}
    made.run()
    assert made.rows("id, amount::VARCHAR, SYS_CHANGE_VERSION") == [(1, "9.00", 4), (2, "2.50", 3)]
    sent = tracked.queries("CHANGETABLE(CHANGES dbo.orders, 3) AS ct")
    assert any("ROWCOUNT_BIG" in each.text for each in sent), "the version is a literal"


def test_changes_that_were_cleaned_up_block_the_load(tracked, made):
    made.run()
    before = made.rows("id")
    tracked.database.tracked = {"dbo.orders": (50, [(60, "U", 1)])}
    with pytest.raises(
        BlockedError, match="keeps changes from version 50 on, and this load would begin at version 3"
    ) as caught:
        made.run()
    assert "--force-first-run" in caught.value.hint
    assert made.rows("id") == before


def test_a_table_that_is_not_tracked_is_told_by_the_server(tracked, made):
    tracked.database.tracked = {}
    with pytest.raises(Exception, match="Change tracking is not enabled on table"):
        made.run()
    assert not made.is_there
