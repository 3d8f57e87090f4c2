"""Measures hwm_magics against the bare libraries and against its peers, as ratios. See README.md."""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import shutil
import signal
import statistics
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dataset
import log_table
import measure
import peers
import postgres
import sql_server
from bars import BARS, LIMITS, Bar, Limit, Way

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "RESULTS.md"
SPARK_PATH = "raw/orders"
SHOWN_VERSIONS = (
    "hwm-magics",
    "deltalake",
    "pyarrow",
    "adbc-driver-postgresql",
    "arrow-odbc",
    "mssql-python-odbc",
)


@dataclass(slots=True)
class Pair:
    """The runs of two ways, side by side; a way that failed has none."""

    a: Way
    b: Way
    runs: dict[Way, list[measure.Run]] = field(default_factory=dict)


class Bench:
    """The things that stay the same from run to run."""

    def __init__(self, server: postgres.Server, cache: Path, stack: ExitStack) -> None:
        self._server = server
        self._stack = stack
        self._sql_server: sql_server.Server | None = None
        self._cache = cache
        self._expected: dict[str, dict[str, Any]] = {}
        self._bases: dict[str, Path] | None = None
        self._since = ""
        self.failed: dict[Way, str] = {}
        self.inexact: dict[Way, list[str]] = {}
        self.spark: tuple[str, float] | None = None
        self._spark_since: dict[str, str] = {}

    def compare(self, a: Way, b: Way, rounds: int) -> Pair:
        """Run two ways in turn: once without counting and with all sums checked, then ``rounds`` times."""
        if a.load:
            return self._in_one_session(a, b, rounds)
        pair = Pair(a, b, {a: [], b: []})
        for number in range(rounds + 1):
            for way in (a, b) if number % 2 else (b, a):
                self._take(way, number, pair.runs[way])
        return pair

    def alone(self, way: Way, rounds: int) -> list[measure.Run]:
        """Run one way by itself: once without counting and with all sums checked, then ``rounds`` times."""
        runs: list[measure.Run] = []
        for number in range(rounds + 1):
            self._take(way, number, runs)
            if number and runs:
                print(
                    f"    {', '.join(f'{name} {value}' for name, value in runs[-1].facts.items())}",
                    flush=True,
                )
        return runs

    def _take(self, way: Way, number: int, runs: list[measure.Run]) -> None:
        """Run a way once; the run counts unless it is the first. A way that failed is not run again."""
        if way in self.failed:
            return
        try:
            run = self._run(way, sums=number == 0)
        except measure.WayError as error:
            self.failed[way] = str(error)
            runs.clear()
            print(f"  {way.name}: failed: {error}", flush=True)
            print(textwrap.indent(error.details, "    "), file=sys.stderr, flush=True)
            return
        counted = "" if number else " (warm-up, all sums checked)"
        print(f"  {way.name}: {run.seconds:.2f} s, {run.peak_mb:.0f} MB{counted}", flush=True)
        if number:
            runs.append(run)

    def _in_one_session(self, a: Way, b: Way, rounds: int) -> Pair:
        """Run two ways in turn in one Spark session; every run's rows are counted, the last ones' sums checked."""
        pair = Pair(a, b, {a: [], b: []})
        try:
            root = self._spark_base(a)
            rows = dataset.expected(self._server, a.table)["rows"]
            more = {
                "load": a.load,
                "way": b.script,
                "rounds": rounds,
                "rows": rows,
                "parts": a.parts,
                "last_key": dataset.LAST_KEY,
            }
            with self._task(a) as given:
                task = (
                    given
                    | more
                    | {
                        "root": str(root),
                        "path": SPARK_PATH,
                        "since": self._spark_since.get(a.load, ""),
                    }
                )
                run = measure.run(sys.executable, measure.WAYS / "spark.py", task)
                for way, name in ((a, "a"), (b, "b")):
                    target = Path(task["scratch"], name, task["path"])
                    self._check(way, {**task, "target": str(target)}, sums=True)
        except measure.WayError as error:
            self.failed[a] = str(error)
            print(f"  {a.name}: failed: {error}", flush=True)
            print(textwrap.indent(error.details, "    "), file=sys.stderr, flush=True)
            return pair
        self.spark = (run.facts["version"], run.facts["start"])
        for way, name in ((a, "a"), (b, "b")):
            pair.runs[way] = [measure.Run(seconds, 0.0, 0.0) for seconds in run.facts["times"][name]]
            print(
                f"  {way.name}: {', '.join(f'{each.seconds:.2f}' for each in pair.runs[way])} s", flush=True
            )
        return pair

    def _spark_base(self, way: Way) -> Path:
        """The table of 1.5 M orders that later loads in Spark go on from, and the source after it has changed."""
        root = self._cache / "base-spark"
        if way.load != "full" and not self._spark_since:
            print("  loading the table that Spark goes on from", flush=True)
            shutil.rmtree(root, ignore_errors=True)
            root.mkdir()
            orders = Way("ours", "orders", load="full")
            with self._task(orders) as task:
                base = {**task, "load": "base", "root": str(root), "path": SPARK_PATH}
                measure.run(sys.executable, measure.WAYS / "spark.py", base)
                self._check(orders, {**base, "target": str(root / task["path"])}, sums=True)
            dataset.shrink(self._server)
            self._spark_since = {
                "increment": dataset.grow(self._server),
                "upsert": dataset.change(self._server),
            }
        return root

    def _run(self, way: Way, *, sums: bool) -> measure.Run:
        base = self._base(way)
        with self._task(way, base) as task:
            run = measure.run(self._python(way), measure.WAYS / f"{way.script}.py", task)
            if way.writes and way.start != "commits":
                self._check(way, task, sums=sums)
        return run

    def _source(self, way: Way) -> postgres.Server | sql_server.Server:
        if way.source == "postgres":
            return self._server
        if self._sql_server is None:
            print("  filling the server that speaks SQL Server's protocol", flush=True)
            self._sql_server = self._stack.enter_context(sql_server.running(self._cache))
        return self._sql_server

    @contextmanager
    def _task(self, way: Way, base: Path | None = None) -> Iterator[dict[str, Any]]:
        """A job with a fresh target; removed afterwards."""
        folder = self._cache / "run"
        shutil.rmtree(folder, ignore_errors=True)
        root, path = folder / "lake", f"raw/{way.table}"
        if way.start == "commits" and base is not None:  # it is only read
            root = base
        elif base is not None:
            shutil.copytree(base, root)
        else:
            root.mkdir(parents=True)
        (folder / "scratch").mkdir(parents=True)
        source = self._source(way)
        if way.table == "wide":
            dataset.ensure_wide(self._server)
        try:
            yield {
                "url": source.url,
                "connection": source.connection,
                "schema": "dbo" if way.source == "sql_server" else "public",
                "table": way.table,
                "root": str(root),
                "path": path,
                "target": str(root / path),
                "since": self._since,
                "scratch": str(folder / "scratch"),
            }
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _check(self, way: Way, task: dict[str, Any], *, sums: bool) -> None:
        """Nobody wins by losing rows."""
        if way.table not in self._expected:
            self._expected[way.table] = dataset.expected(self._server, way.table)
        job = {"target": task["target"], "expected": self._expected[way.table], "sums": sums}
        facts = measure.run(sys.executable, HERE / "check.py", job).facts
        if facts["problems"]:
            raise measure.WayError("; ".join(facts["problems"]))
        self.inexact[way] = facts["inexact"]

    def _python(self, way: Way) -> str:
        return peers.python(self._cache, way.peer) if way.peer else sys.executable

    def _base(self, way: Way) -> Path | None:
        """What the way starts from: a lake that is copied, or for ``commits`` read."""
        if way.start == "nothing":
            return None
        if way.start == "commits":
            return self._many_commits()
        if self._bases is None:
            self._bases = self._make_bases()
        if way.start not in self._bases:
            raise measure.WayError("the full load that it goes on from failed")
        return self._bases[way.start]

    def _make_bases(self) -> dict[str, Path]:
        """The table before the increment, loaded by both ways; then the source grows."""
        print("  loading the tables that increments go on from", flush=True)
        dataset.shrink(self._server)
        bases: dict[str, Path] = {}
        for start, script in (("bare", "bare_adbc"), ("ours", "ours_full")):
            way = Way(script, "orders_growing")
            kept = self._cache / f"base-{start}"
            shutil.rmtree(kept, ignore_errors=True)
            try:
                with self._task(way) as task:
                    measure.run(sys.executable, measure.WAYS / f"{script}.py", task)
                    self._check(way, task, sums=False)
                    shutil.move(task["root"], kept)
            except measure.WayError as error:
                print(f"  {way.name}: failed: {error}", flush=True)
                print(textwrap.indent(error.details, "    "), file=sys.stderr, flush=True)
                continue
            bases[start] = kept
        self._since = dataset.grow(self._server)
        del self._expected["orders_growing"]
        return bases

    def _many_commits(self) -> Path:
        root = self._cache / "many-commits"
        made = root / "fingerprint.txt"
        wanted = f"{dataset.VERSION} {log_table.fingerprint()}"
        if not made.exists() or made.read_text() != wanted:
            print(f"  making the table of {log_table.LAST:,} commits", flush=True)
            shutil.rmtree(root, ignore_errors=True)
            (root / "raw" / "orders").mkdir(parents=True)
            job = {"url": self._server.url, "target": str(root / "raw" / "orders")}
            measure.run(sys.executable, HERE / "log_table.py", job)
            made.write_text(wanted)
        return root


def figure(run: measure.Run, name: str) -> float:
    """A figure of a run: of the whole process, or one that the script printed."""
    if name in ("seconds", "cpu_seconds", "peak_mb"):
        return float(getattr(run, name))
    return float(run.facts["seconds" if name == "inside" else name])


def limit(bar: Bar | Limit) -> str:
    """A bar's limit, as text."""
    if isinstance(bar, Limit):
        return f"≤ {bar.limit:g} {bar.unit}"
    text = f"{'≥' if bar.at_least else '≤'} {bar.limit:g}"
    return f"{text}, ≤ {bar.peak_mb:.0f} MB" if bar.peak_mb else text


def row(bar: Bar, pair: Pair) -> list[str]:
    """A bar's line: both medians, the median of the pairs' ratios, the limit, and how they compare."""
    a, b = pair.runs[bar.a], pair.runs[bar.b]
    cells = [bar.name, bar.text]
    for runs in (a, b):
        if runs:
            value = statistics.median(figure(run, bar.figure) for run in runs)
            peak = statistics.median(run.peak_mb for run in runs)
            seconds = statistics.median(run.seconds for run in runs) if bar.figure == "peak_mb" else value
            cells.append(f"{seconds:.3g} s" + (f", {peak:.0f} MB" if peak else ""))
        else:
            cells.append("–")
    if not a or not b:
        return [*cells, "–", limit(bar), "not measured"]
    ratios = [figure(x, bar.figure) / figure(y, bar.figure) for x, y in zip(a, b, strict=True)]
    ratio = statistics.median(ratios)
    within = ratio >= bar.limit if bar.at_least else ratio <= bar.limit
    if bar.peak_mb:
        within = within and statistics.median(run.peak_mb for run in a) <= bar.peak_mb
    spread = f"{ratio:.2f} ({min(ratios):.2f}–{max(ratios):.2f})"
    return [*cells, spread, limit(bar), "within" if within else "over"]


def lone_row(bar: Limit, runs: list[measure.Run]) -> list[str]:
    """A line of a figure by itself: the median, all that were measured, the limit, and how they compare."""
    if not runs:
        return [bar.name, bar.text, "–", limit(bar), "not measured"]
    figures = [float(run.facts[bar.figure]) for run in runs]
    middle = statistics.median(figures)
    told = f"{middle:.3g} {bar.unit} ({min(figures):.3g} to {max(figures):.3g})"
    return [bar.name, bar.text, told, limit(bar), "within" if middle <= bar.limit else "over"]


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that reads well as plain text too."""
    lines = [list(head), *map(list, rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    texts = ["| " + " | ".join(map(str.ljust, line, widths)) + " |" for line in lines]
    texts.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(texts)


def surroundings(rounds: int) -> str:
    """What the figures depend on, in two sentences."""
    found = []
    for name in SHOWN_VERSIONS:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            continue
    named = ("dlt", "connectorx", "pandas", "polars", "odbc2deltalake")
    pins = [pin for packages in peers.PACKAGES.values() for pin in packages if pin.startswith(named)]
    return (
        f"Python {platform.python_version()}, {os.cpu_count()} cores, {rounds} counted rounds a pair, load "
        f"{os.getloadavg()[1]:.1f} (5 min). {', '.join(found)}; peers: {', '.join(pins)}."
    )


def report(
    bench: Bench, pairs: list[tuple[Bar, Pair]], lone: list[tuple[Limit, list[measure.Run]]], rounds: int
) -> str:
    """The tables and their notes."""
    parts = []
    if pairs:
        head = ("bar", "what", "A", "B", "A / B (all pairs)", "limit", "")
        parts += [markdown(head, [row(bar, pair) for bar, pair in pairs]), ""]
    if lone:
        head = ("bar", "what", "median (all runs)", "limit", "")
        parts += [markdown(head, [lone_row(bar, runs) for bar, runs in lone]), ""]
    for way, columns in bench.inexact.items():
        if columns:
            parts.append(f"- {way.name}: not the source's types: {', '.join(columns)}")
    parts += [f"- {way.name}: failed: {error}" for way, error in bench.failed.items()]
    if bench.spark is not None:
        parts.append(
            f"- Spark {bench.spark[0]}: both ways in one session, in turn; without its start of {bench.spark[1]:.1f} s"
        )
    parts += ["", surroundings(rounds)]
    return "\n".join(parts)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="benchmarks/run.py", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="counted rounds a pair (default: 5)")
    parser.add_argument("--only", action="append", metavar="NAME", help="this bar only; may be repeated")
    parser.add_argument("--list", action="store_true", help="list the bars and stop")
    parser.add_argument("--write", action="store_true", help=f"write the table to {RESULTS.name} as well")
    parser.add_argument("--cache", type=Path, default=HERE / ".cache", help="where data and peers are kept")
    parser.add_argument("--serve", action="store_true", help="only run the source, until interrupted")
    options = parser.parse_args()
    names = [bar.name for bar in (*BARS, *LIMITS)]
    for name in options.only or ():
        if name not in names:
            parser.error(f"there is no bar {name!r}; there are: {', '.join(names)}")
    if options.rounds < 1:
        parser.error("--rounds must be at least 1")
    return options


def serve(server: postgres.Server) -> None:
    """Wait, while somebody tries things by hand."""
    print(f"{server.url}\n{json.dumps(server.connection)}\nCtrl-C stops it", flush=True)
    try:
        while True:
            time.sleep(3600)
    except KeyboardInterrupt:
        print()


def main() -> None:
    options = arguments()
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    chosen = [bar for bar in BARS if not options.only or bar.name in options.only]
    lone = [bar for bar in LIMITS if not options.only or bar.name in options.only]
    if options.list:
        listed = [(bar.name, bar.text, limit(bar)) for bar in (*chosen, *lone)]
        print(markdown(("bar", "what", "limit"), listed))
        return
    cache = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise SystemExit(f"another run uses {cache}") from None
        with ExitStack() as stack, postgres.running(cache) as server:
            dataset.ensure(server)
            if options.serve:
                serve(server)
                return
            bench = Bench(server, cache, stack)
            pairs: dict[tuple[Way, Way], Pair] = {}
            for bar in chosen:
                if (bar.a, bar.b) not in pairs:
                    print(bar.text, flush=True)
                    pairs[bar.a, bar.b] = bench.compare(bar.a, bar.b, options.rounds)
            alone: dict[Way, list[measure.Run]] = {}
            for limited in lone:
                if limited.way not in alone:
                    print(limited.text, flush=True)
                    alone[limited.way] = bench.alone(limited.way, options.rounds)
    text = report(
        bench,
        [(bar, pairs[bar.a, bar.b]) for bar in chosen],
        [(limited, alone[limited.way]) for limited in lone],
        options.rounds,
    )
    print(f"\n{text}")
    if options.write:
        title = f"# Benchmarks, {date.today().isoformat()}"
        RESULTS.write_text(f"{title}\n\nMade by `make bench`; README.md says what the bars are.\n\n{text}\n")


if __name__ == "__main__":
    main()
