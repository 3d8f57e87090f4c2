"""Wide rows of MariaDB come in batches of a bounded size."""

from __future__ import annotations

import pytest
from integration.test_wide_rows import ROWS, WIDTH, check
from maria.ways import to_maria

from hwm_magics.core.specs import ReadSpec


@pytest.mark.parametrize("way", ["pymysql", "odbc rows", "sqlalchemy"])
def test_mariadb_gives_wide_rows_in_small_batches(way, maria):
    query = f"SELECT seq AS id, REPEAT('x', {WIDTH}) AS v FROM seq_1_to_{ROWS}"
    read = ReadSpec("shop", query=query)
    with to_maria(way, maria) as opens, opens(read) as source:
        check(source, read)
