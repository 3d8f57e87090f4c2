"""The environments of the peers: virtual environments in the cache, apart from the project's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Literal

Environment = Literal["peers", "odbc2deltalake"]

PACKAGES: dict[Environment, tuple[str, ...]] = {
    "peers": (
        "dlt[deltalake,postgres,sql-database]==1.31.0",
        "connectorx==0.4.6",
        "deltalake==1.6.6",
        "pandas==3.1.1",
        "polars==2.1.0",
        "pyodbc==5.5.0",
        "psycopg2-binary==2.9.13",
        "psycopg[binary]==3.3.9",
        "pyarrow==26.0.1",
        "SQLAlchemy==2.1.9",
    ),
    # It calls what deltalake 1.0 and DuckDB 2.0 no longer have.
    "odbc2deltalake": (
        "odbc2deltalake[local,postgres]==0.14.3",
        "adbc-driver-postgresql==1.13.0",
        "deltalake==0.25.5",
        "duckdb==1.5.6",
        "fsspec==2026.9.0",
        "pyarrow==26.0.1",
    ),
}
"""By the name of the environment, what is in it."""


def python(cache: Path, environment: Environment) -> str:
    """An environment's interpreter; it is made where it is missing or of other versions."""
    packages = PACKAGES[environment]
    home = cache / f"{environment}-venv"
    interpreter = home / "bin" / "python"
    made = home / "made-of.txt"
    wanted = "\n".join(packages)
    if not made.exists() or made.read_text() != wanted:
        print(f"installing {environment} in an environment of its own", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *packages], check=True)
        made.write_text(wanted)
    return str(interpreter)
