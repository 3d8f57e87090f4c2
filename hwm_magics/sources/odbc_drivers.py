"""ODBC drivers: Microsoft's for SQL Server, registered or inside of a wheel, and MariaDB's or MySQL's."""

from __future__ import annotations

import platform
import re
import sys
from pathlib import Path

from hwm_magics.errors import EngineNotInstalledError
from hwm_magics.sources.failures import not_installed

__all__ = ["library_in", "mysql_driver", "sql_server_driver"]

_WELL_KNOWN = 18
"""The release that this project knows; an older one that is registered comes after the wheel's."""
_MACHINES = {
    "x86_64": ("x86_64", "x64"),
    "amd64": ("x86_64", "x64"),
    "aarch64": ("arm64",),
    "arm64": ("arm64",),
}
_DISTRIBUTIONS = {
    "alpine": "alpine",
    "debian": "debian_ubuntu",
    "ubuntu": "debian_ubuntu",
    "rhel": "rhel",
    "fedora": "rhel",
    "centos": "rhel",
    "suse": "suse",
    "opensuse": "suse",
}
"""Names in /etc/os-release, and the wheel's folders."""


def mysql_driver() -> str:
    """The registered name of MariaDB's ODBC driver, or else of MySQL's.

    Raises:
        EngineNotInstalledError: There is neither.
    """
    try:
        import pyodbc
    except ImportError as error:
        raise not_installed(str(error.name or "pyodbc"), "odbc") from None
    registered: list[str] = sorted(
        name
        for name in pyodbc.drivers()
        if re.match(r"MariaDB|MySQL ODBC [\d.]+ Unicode", name, re.IGNORECASE)
    )
    if not registered:
        raise EngineNotInstalledError(
            "there is no ODBC driver of MariaDB or MySQL here",
            hint="apt-get install odbc-mariadb, or leave out driver: odbc",
        )
    return registered[0]


def sql_server_driver() -> str:
    """What to write after ``DRIVER=``: a registered name, or the full path of the wheel's library.

    Raises:
        EngineNotInstalledError: There is neither.
    """
    try:
        import pyodbc
    except ImportError as error:
        raise not_installed(str(error.name or "pyodbc"), "sqlserver") from None
    registered = max(
        (
            (int(found[1]), name)
            for name in pyodbc.drivers()
            if (found := re.fullmatch(r"ODBC Driver (\d+) for SQL Server", name))
        ),
        default=(0, ""),
    )
    if registered[0] >= _WELL_KNOWN:
        return registered[1]
    in_wheel = _of_wheel()
    if in_wheel is not None:
        return str(in_wheel)
    if registered[1]:
        return registered[1]
    raise EngineNotInstalledError(
        "no ODBC driver for SQL Server is registered", hint="pip install 'hwm-magics[sqlserver]'"
    )


def _of_wheel() -> Path | None:
    try:
        import mssql_python_odbc
    except ImportError:
        return None
    return library_in(Path(mssql_python_odbc.__file__).parent / "libs", platform.machine(), _distribution())


def _distribution() -> str:
    """The wheel's folder for this Linux; "" elsewhere, and where it is not known."""
    if not sys.platform.startswith("linux"):
        return ""
    try:
        told = platform.freedesktop_os_release()
    except OSError:
        return ""
    names = [told.get("ID", ""), *told.get("ID_LIKE", "").split()]
    return next((_DISTRIBUTIONS[name] for name in names if name in _DISTRIBUTIONS), "")


def library_in(folder: Path, machine: str, distribution: str) -> Path | None:
    """The driver's library among those of a wheel, which has some for several systems.

    Args:
        folder: The wheel's folder of libraries.
        machine: The processor, as Python names it.
        distribution: The folder to be preferred; "" for any.
    """
    machines = _MACHINES.get(machine.lower(), (machine.lower(),))
    found = [
        path
        for path in sorted(folder.rglob("*msodbcsql*"))
        if (".so" in path.name or path.suffix in (".dylib", ".dll")) and set(machines) & set(path.parts)
    ]
    return next((path for path in found if distribution in path.parts), found[0] if found else None)
