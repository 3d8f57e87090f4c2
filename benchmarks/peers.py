"""The environment of the peers: a virtual environment in the cache, apart from the project's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

PACKAGES = (
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
)


def python(cache: Path) -> str:
    """The peers' interpreter; its environment is made where it is missing or of other versions."""
    home = cache / "peers-venv"
    interpreter = home / "bin" / "python"
    made = home / "made-of.txt"
    wanted = "\n".join(PACKAGES)
    if not made.exists() or made.read_text() != wanted:
        print("installing the peers in their own environment", flush=True)
        shutil.rmtree(home, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
        made.write_text(wanted)
    return str(interpreter)
