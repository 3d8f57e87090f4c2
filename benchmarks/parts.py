"""What reading in parts gains: the same first run in one stream and in parts, straight and over a slow line.

``python benchmarks/parts.py [rows]`` starts a PostgreSQL of its own, and a proxy on loopback that delays what the
server sends and passes so many bytes a second on each connection. It prints seconds and peak memory.
"""

from __future__ import annotations

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from postgres import DATABASE, HOST, running

DELAY = 0.02
"""Seconds that each piece takes from the server to the client."""
PIECE = 65_536
ROUNDS = 3
CACHE = Path(tempfile.gettempdir()) / "hwm-bench-parts"
"""Where the server's files lie; its user must be able to enter."""
LOAD = """
import json, re, sys, time
import hwm_magics
spec, connections = json.loads(sys.argv[1])
started = time.perf_counter()
result = hwm_magics.load(spec, connections=connections)
seconds = time.perf_counter() - started
with open("/proc/self/status") as status:  # what getrusage tells begins with the peak of who started this
    peak = int(re.search(r"VmHWM:\\s+(\\d+)", status.read())[1])
print(json.dumps([result.rows_written, seconds, peak / 1024]))
"""


def pump(source: socket.socket, target: socket.socket, rate: float) -> None:
    """Pass bytes on, not more than ``rate`` a second, each piece later than it came; 0 for at once."""
    due = time.monotonic()
    try:
        while data := source.recv(PIECE):
            if rate:
                due = max(due, time.monotonic() + DELAY - PIECE / rate) + len(data) / rate
                time.sleep(max(0.0, due - time.monotonic()))
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        return


def proxy(server: int, rate: float) -> None:
    """Serve until the process ends."""
    listening = socket.create_server((HOST, 0))
    print(listening.getsockname()[1], flush=True)
    while True:
        client, _ = listening.accept()
        there = socket.create_connection((HOST, server))
        threading.Thread(target=pump, args=(client, there, 0.0), daemon=True).start()
        threading.Thread(target=pump, args=(there, client, rate), daemon=True).start()


def main(rows: int) -> None:
    """Measure, and print a table."""
    with running(CACHE) as server:
        with server.connect("postgres") as connection:
            connection.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
            connection.execute(f"CREATE DATABASE {DATABASE}")
        with server.connect() as connection:
            connection.execute(
                "CREATE TABLE t AS SELECT n AS id, timestamp '2024-01-01' + n * interval '1 s' AS u, "
                "CAST(n * 1.01 AS numeric(15,2)) AS price, md5(CAST(n AS text)) || md5(CAST(-n AS text)) AS note "
                f"FROM generate_series(1, {rows}) n"
            )
            connection.execute("ALTER TABLE t ADD PRIMARY KEY (id)")
            connection.execute("ANALYZE t")
        print(
            f"{rows:,} rows, median of {ROUNDS} runs in turn\n\n| line | read | seconds | peak MB |\n|---|---|---|---|"
        )
        for line, rate in (("loopback", 0.0), ("20 ms, 10 MB/s a connection", 10e6)):
            port, passing = server.connection["port"], None
            if rate:
                passing = subprocess.Popen(
                    [sys.executable, __file__, "--proxy", str(port), str(rate)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
                port = int(passing.stdout.readline())
            try:
                measure(line, {**server.connection, "port": port})
            finally:
                if passing is not None:
                    passing.kill()
                    passing.wait()


def measure(line: str, source: dict[str, object]) -> None:
    """All ways over one line, in turn."""
    ways: dict[str, object] = {
        "one stream": None,
        "4 parts by id": {"column": "id", "count": 4},
        "8 parts by id": {"column": "id", "count": 8},
        "auto": "auto",
    }
    found: dict[str, list[tuple[float, float]]] = {way: [] for way in ways}
    for _ in range(ROUNDS):
        for way, partition in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                read = {"connection": "s", "table": "t", "incremental": {"column": "u"}}
                if partition is not None:
                    read["partition"] = partition
                spec = {"engine": "pandas", "read": read, "write": {"connection": "l", "path": "t"}}
                given = json.dumps([spec, {"s": source, "l": {"type": "local", "root": str(Path(folder))}}])
                told = subprocess.run(
                    [sys.executable, "-c", LOAD, given], check=True, capture_output=True, text=True
                )
                _, seconds, peak = json.loads(told.stdout.splitlines()[-1])
                found[way].append((seconds, peak))
    for way, runs in found.items():
        seconds, peak = (statistics.median(column) for column in zip(*runs, strict=True))
        print(f"| {line} | {way} | {seconds:.2f} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--proxy"]:
        proxy(int(sys.argv[2]), float(sys.argv[3]))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_500_000)
