"""Which of Microsoft's ODBC drivers is taken, and when a server is said to be out of reach."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest

from hwm_magics.errors import SourceConnectionError
from hwm_magics.sources.odbc_drivers import library_in
from hwm_magics.sources.probing import refuse_unreachable

FILES = (
    "linux/debian_ubuntu/x86_64/lib/libmsodbcsql-18.6.so.2.1",
    "linux/debian_ubuntu/arm64/lib/libmsodbcsql-18.6.so.2.1",
    "linux/rhel/x86_64/lib/libmsodbcsql-18.6.so.2.1",
    "linux/rhel/x86_64/share/resources/en_US/msodbcsqlr18.rll",
)


@pytest.mark.parametrize(
    ("machine", "distribution", "expected"),
    [
        ("x86_64", "debian_ubuntu", "linux/debian_ubuntu/x86_64"),
        ("aarch64", "debian_ubuntu", "linux/debian_ubuntu/arm64"),
        ("AMD64", "rhel", "linux/rhel/x86_64"),
        ("x86_64", "", "linux/debian_ubuntu/x86_64"),
        ("x86_64", "suse", "linux/debian_ubuntu/x86_64"),
        ("riscv64", "debian_ubuntu", None),
    ],
)
def test_the_library_of_a_wheel_that_fits(tmp_path, machine, distribution, expected):
    for name in FILES:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    found = library_in(tmp_path, machine, distribution)
    assert (found and str(found.relative_to(tmp_path).parent.parent)) == expected


@pytest.mark.parametrize(
    ("folder", "machine", "name"),
    [("macos/arm64/lib", "arm64", "libmsodbcsql.18.dylib"), ("windows/x64", "AMD64", "msodbcsql18.dll")],
)
def test_the_libraries_of_other_systems(tmp_path, folder, machine, name):
    (tmp_path / folder).mkdir(parents=True)
    (tmp_path / folder / name).touch()
    assert library_in(tmp_path, machine, "") == tmp_path / folder / name


def test_a_server_that_refuses_is_told_and_one_that_listens_is_not():
    with closing(socket.socket()) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]
        for text in (f"127.0.0.1,{port}", f"tcp:127.0.0.1, {port}"):
            with pytest.raises(SourceConnectionError, match="connection refused"):
                refuse_unreachable(text, doing="connecting")
        server.listen()
        refuse_unreachable(f"127.0.0.1,{port}", doing="connecting")


@pytest.mark.parametrize("text", ["", "erp\\SALES", "np:\\\\erp\\pipe\\sql", "(localdb)\\v11", "lpc:erp"])
def test_what_is_no_host_and_port_is_left_to_the_driver(text):
    refuse_unreachable(text, doing="connecting")
