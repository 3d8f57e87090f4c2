"""DuckDB's own progress bar stays out of notebooks and of jobs' output."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import json, sys
import duckdb
from hwm_magics.core.statement import Statement
from hwm_magics.sources import files_arrow, sql_duckdb

asked = "SELECT current_setting('enable_progress_bar')"
duckdb.connect(sys.argv[1]).close()
own = duckdb.connect()
given = sql_duckdb.of_object(own, "own")
opened = sql_duckdb.connect(sys.argv[1], {})
print(json.dumps({
    "files": files_arrow.evaluator().execute(asked).fetchone()[0],
    "opened": opened.rows(Statement((asked,)))[0][0],
    "given": given.rows(Statement((asked,)))[0][0],
    "the notebook's own": own.execute(asked).fetchone()[0],
}))
"""


def test_no_connection_of_a_load_draws_a_bar(tmp_path):
    """As in a notebook: in a process without a script DuckDB draws one for what takes two seconds."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "shop.duckdb")]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(told.stdout) == {
        "files": False,
        "opened": False,
        "given": False,
        "the notebook's own": True,
    }
