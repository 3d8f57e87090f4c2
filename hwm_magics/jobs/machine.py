"""What is installed on this machine, and what of it a job needs."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata

from hwm_magics.jobs.checks import Check, State
from hwm_magics.jobs.drivers import EXTRAS, Need
from hwm_magics.version import __version__

__all__ = ["extras", "machine", "package"]

_CORE = ("deltalake", "pyarrow", "pandas", "sqlglot", "SQLAlchemy", "ipython", "ipywidgets")
_OLDEST = (3, 11)


def machine() -> Iterator[Check]:
    """Python, this package, and what it can't do without."""
    version = platform.python_version()
    new = sys.version_info >= _OLDEST
    yield Check(
        "machine", "Python", State.OK if new else State.BAD, f"{version}, {platform.system()} {platform.machine()}",
        "" if new else "install Python 3.11 or newer",
    )  # fmt: skip
    yield Check("machine", "hwm-magics", State.OK, __version__)
    for name in _CORE:
        found = _version(name)
        yield Check(
            "machine", name, State.OK if found else State.BAD, found or "not installed",
            "" if found else "pip install hwm-magics",
        )  # fmt: skip


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def extras(needed: frozenset[str]) -> Iterator[Check]:
    """Every extra; one that is missing is bad where it is needed."""
    for extra, needs in EXTRAS.items():
        missing = [need for need in needs if not need.there]
        seen = ", ".join(f"{need.package} {_version(need.package)}".strip() for need in needs if need.there)
        if missing:
            seen = f"{', '.join(need.package for need in missing)}: not installed"
        state = State.OK if not missing else State.BAD if extra in needed else State.NOTE
        yield Check("extra", extra, state, seen, missing[0].line if missing else "")
    if "odbc" in needed or "sqlserver" in needed:
        yield from _odbc_drivers()
    if "spark" in needed:
        yield _java()


def package(need: Need) -> Check:
    """A package that no extra brings."""
    if need.there:
        return Check("machine", need.package, State.OK, _version(need.package) or "installed")
    return Check("machine", need.package, State.BAD, "not installed", need.line)


def _odbc_drivers() -> Iterator[Check]:
    try:
        import pyodbc
    except ImportError as error:
        yield Check("machine", "ODBC", State.BAD, str(error), "install unixODBC (apt-get install unixodbc)")
        return
    found = pyodbc.drivers()
    yield Check(
        "machine", "ODBC drivers", State.OK if found else State.NOTE, ", ".join(found) or "none is registered"
    )


def _java() -> Check:
    home = os.environ.get("JAVA_HOME", "")
    found = shutil.which("java", path=os.path.join(home, "bin") if home else None)  # noqa: PTH118 - a PATH entry
    if found is None:
        return Check(
            "machine", "Java", State.BAD, "none is found", "install a JDK 17 (openjdk-17-jre-headless)"
        )
    return Check("machine", "Java", State.OK, found)
