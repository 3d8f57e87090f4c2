"""A load in a place that is too small, or that can't be written: made so here, since only this process sees it.

Its one argument is JSON: `yaml`, `folder` (the project's), `lake` (a folder), and `how` that is made hard:

- `small`: the lake is a file system of its own, with little space; needs a mount namespace.
- `mounted read-only`: the lake is a file system of its own that turns read-only; needs a mount namespace.
- `limited`: no file may grow beyond half a megabyte.
- `no rights`: nobody may write into the lake's folders, and root obeys that, too.

`before` is SQL that changes the source after a first, good load; without it the hard load is the first one. The
answer is JSON: the error's class and lines, whether the lake stayed as it was, and what a load came to once
the place was good again.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import subprocess
import sys
import warnings
from pathlib import Path

warnings.simplefilter("error")

from badinput.conftest import snapshot  # noqa: E402
from traps.naive import rows_of  # noqa: E402

import hwm_magics  # noqa: E402
from hwm_magics.errors import HwmError  # noqa: E402

HALF_A_MEGABYTE = 512 * 1024


def obey_permissions() -> None:
    """Take from root what lets it pass over the bits of files and folders."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capget(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capget")
    for which in range(3):  # effective, permitted, inheritable: without CAP_DAC_OVERRIDE and its sister
        sets[which] &= ~0b110
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def mount(lake: Path, options: str) -> None:
    """Mount or remount the lake."""
    what = ["tmpfs"] if "remount" not in options else []
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, *what, str(lake)], check=True)


def folders(lake: Path) -> list[Path]:
    return [lake, *(path for path in lake.rglob("*") if path.is_dir())]


def harden(how: str, lake: Path) -> None:
    if how == "mounted read-only":
        mount(lake, "remount,ro")
    elif how == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (HALF_A_MEGABYTE, resource.RLIM_INFINITY))
    elif how == "no rights":
        for folder in folders(lake):
            folder.chmod(0o555)


def soften(how: str, lake: Path) -> None:
    if how == "small":
        mount(lake, "remount,size=200m")
    elif how == "mounted read-only":
        mount(lake, "remount,rw")
    elif how == "limited":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    elif how == "no rights":
        for folder in folders(lake):
            folder.chmod(0o755)


def main() -> None:
    """Load, and tell."""
    order = json.loads(sys.argv[1])
    how, lake = order["how"], Path(order["lake"])
    os.chdir(order["folder"])
    if how == "no rights":
        obey_permissions()
    if how in ("small", "mounted read-only"):
        mount(lake, "size=768k")
    if order["before"]:
        hwm_magics.load(order["yaml"])
        import psycopg

        with psycopg.connect(order["database"], autocommit=True) as connection:
            connection.execute(order["before"])
    harden(how, lake)
    files, rows = snapshot(lake), rows_of(lake / "raw" / "orders", "id")
    told = {}
    try:
        hwm_magics.load(order["yaml"])
    except HwmError as error:
        told = {"error": type(error).__name__, "lines": error.lines()}
    left = snapshot(lake)
    told["log_as_it_was"] = [name for name in left if "_delta_log" in name] == [
        name for name in files if "_delta_log" in name
    ]
    told["changed"] = [name for name in files if left.get(name) != files[name]]
    told["new"] = [name for name in left if name not in files]
    told["rows_as_they_were"] = rows_of(lake / "raw" / "orders", "id") == rows
    soften(how, lake)
    result = hwm_magics.load(order["yaml"])
    told["later"] = [result.status, len(rows_of(lake / "raw" / "orders", "id"))]
    print(json.dumps(told), flush=True)
    # Arrow's reading threads, which counted the rows above, may still let go of buffers, and abort a process
    # whose interpreter is gone by then.
    os._exit(0)


if __name__ == "__main__":
    main()
