"""The bars: what is compared with what, or measured by itself, and the limit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from peers import Environment


@dataclass(frozen=True, slots=True)
class Way:
    """One way to do something.

    Attributes:
        script: Its script in ``ways/``.
        table: The source's table.
        start: What its target is before it runs: ``nothing``, the table without the new rows as ``ours``
            or the ``bare`` way has loaded it, or the table of many ``commits``.
        peer: The peers' environment that it runs in; "" for the project's own.
        load: For ways that run in one Spark session, in turn: which load of ``ways/spark.py``. Their
            ``script`` is ``ours`` or the name of what is written by hand there.
        parts: Into how many parts such a load splits its read; 0 for no split.
        source: Where it reads.
        writes: Whether it makes a table, whose rows are then checked.
    """

    script: str
    table: str
    start: Literal["nothing", "ours", "bare", "commits"] = "nothing"
    peer: Environment | Literal[""] = ""
    load: Literal["", "full", "increment", "upsert"] = ""
    parts: int = 0
    source: Literal["postgres", "sql_server"] = "postgres"
    writes: bool = True

    @property
    def ours(self) -> bool:
        return self.script.startswith("ours")

    @property
    def name(self) -> str:
        if self.load:
            return f"spark {self.load}, {self.script}"
        place = " of sql_server" if self.source == "sql_server" else ""
        return f"{self.script}, {self.table}{place}" if self.start == "nothing" else self.script


@dataclass(frozen=True, slots=True)
class Bar:
    """A ratio and its limit.

    The ratio is ``a``'s figure by ``b``'s. Bars with the same two ways are measured in the same runs.

    Attributes:
        name: For ``--only``.
        text: What it says.
        a, b: The two ways.
        figure: What is compared: ``seconds`` and ``peak_mb`` of the process, or a figure in seconds
            that the scripts print.
        limit: The ratio's limit.
        at_least: Whether the limit is a least ratio, not a greatest.
        peak_mb: A limit for the peak memory of ``a`` as well.
    """

    name: str
    text: str
    a: Way
    b: Way
    limit: float
    figure: str = "seconds"
    at_least: bool = False
    peak_mb: float | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """A figure of one way by itself, and its limit. Those with the same way are measured in the same runs.

    Attributes:
        name: For ``--only``.
        text: What it says.
        way: The way.
        figure: The figure that its script prints.
        limit: The figure's limit.
        unit: What both are counted in.
    """

    name: str
    text: str
    way: Way
    figure: str
    limit: float
    unit: str


OURS_ORDERS = Way("ours_full", "orders")
OURS_LINEITEM = Way("ours_full", "lineitem")
OURS_ODBC = Way("ours_full", "orders", source="sql_server")
OURS_INCREMENT = Way("ours_increment", "orders_growing", start="ours")
BARE_APPEND = Way("bare_append", "orders_growing", start="bare")
OURS_PLAN = Way("ours_plan", "orders", start="commits")
OPEN_TABLE = Way("open_table", "orders", start="commits")
CARD = Way("card", "orders_growing", start="ours")
COMMAND = Way("command", "orders_growing", start="ours")
CARD_PROGRESS = Way("card_progress", "orders")


def _peers(ours: Way, table: str, what: str, *, least_dlt: float | None, most: float) -> tuple[Bar, ...]:
    """The bars of one table's first load: what others take, and what its two halves take by themselves."""
    load = f"full load of {what}"
    against = [
        ("polars", Way("polars_best", table, peer="peers"), 1.0),
        ("connectorx", Way("connectorx_stream", table, peer="peers"), 1.0),
        ("odbc2deltalake", Way("odbc2deltalake_full", table, peer="odbc2deltalake"), 2.0),
    ]
    if least_dlt is not None:
        against.insert(0, ("dlt", Way("dlt_best", table, peer="peers"), least_dlt))
    halves = [
        ("copy", "COPY binary to nowhere", Way("copy_nowhere", table, writes=False)),
        ("write", "writing from memory", Way("write_memory", table)),
    ]
    return (
        *(
            Bar(f"{table}-{peer}", f"{load}: {peer} / ours", way, ours, limit, at_least=True)
            for peer, way, limit in against
        ),
        # The slower half counts: one of the two within is enough.
        *(
            Bar(f"{table}-{name}", f"{load}, inside: ours / {text}", ours, way, most, figure="inside")
            for name, text, way in halves
        ),
    )


BARS = (
    Bar(
        "full-bare",
        "full load of 1.5 M orders: ours / the bare stream",
        OURS_ORDERS,
        Way("bare_adbc", "orders"),
        1.15,
    ),
    Bar(
        "full-dlt",
        "full load of 1.5 M orders: dlt / ours",
        Way("dlt_best", "orders", peer="peers"),
        OURS_ORDERS,
        3,
        at_least=True,
    ),
    Bar(
        "full-pandas",
        "full load of 1.5 M orders: pandas / ours",
        Way("pandas_read_sql", "orders", peer="peers"),
        OURS_ORDERS,
        2.8,
        at_least=True,
    ),
    *_peers(OURS_ORDERS, "orders", "1.5 M orders", least_dlt=None, most=1.5),
    *_peers(OURS_LINEITEM, "lineitem", "6 M lineitem", least_dlt=3, most=1.25),
    Bar(
        "odbc-bare",
        "1.5 M orders by ODBC Driver 18: ours / bare arrow-odbc",
        OURS_ODBC,
        Way("bare_arrow_odbc", "orders", source="sql_server"),
        1.1,
    ),
    Bar(
        "odbc-bare-cpu",
        "the same in processor seconds, which neighbours do not change",
        OURS_ODBC,
        Way("bare_arrow_odbc", "orders", source="sql_server"),
        1.1,
        figure="cpu_seconds",
    ),
    Bar(
        "odbc-pandas",
        "1.5 M orders by ODBC Driver 18: pyodbc with pandas / ours",
        Way("pandas_pyodbc", "orders", peer="peers", source="sql_server"),
        OURS_ODBC,
        3,
        at_least=True,
    ),
    Bar(
        "memory",
        "peak memory: ours on 6 M lineitem / on 1.5 M orders",
        OURS_LINEITEM,
        OURS_ORDERS,
        1.15,
        figure="peak_mb",
        peak_mb=450,
    ),
    Bar(
        "memory-lineitem",
        "peak memory: ours on 6 M lineitem / on 1.5 M lineitem",
        OURS_LINEITEM,
        Way("ours_full", "lineitem_quarter"),
        1.15,
        figure="peak_mb",
        peak_mb=450,
    ),
    Bar(
        "memory-wide",
        "peak memory: ours on 150,000 rows of 6 KB of text / on 1.5 M orders",
        Way("ours_full", "wide"),
        OURS_ORDERS,
        1.6,
        figure="peak_mb",
        peak_mb=450,
    ),
    Bar(
        "increment",
        "increment of 1,500 rows on 1.5 M: ours / the bare append",
        OURS_INCREMENT,
        BARE_APPEND,
        1.3,
    ),
    Bar(
        "increment-inside",
        "the same inside the process, imports on demand included",
        OURS_INCREMENT,
        BARE_APPEND,
        1.5,
        figure="inside",
    ),
    Bar(
        "plan",
        "planning on 10,050 commits: ours / opening the table",
        OURS_PLAN,
        OPEN_TABLE,
        2,
    ),
    Bar(
        "plan-inside",
        "the same inside the process, imports on demand included",
        OURS_PLAN,
        OPEN_TABLE,
        2,
        figure="inside",
    ),
    Bar(
        "plan-again",
        "the same inside the process, the second time",
        OURS_PLAN,
        OPEN_TABLE,
        2,
        figure="again",
    ),
    Bar(
        "plan-flat",
        "planning on 10,050 commits and files / on the table of one load, the second time",
        OURS_PLAN,
        Way("ours_plan", "orders_growing", start="ours", writes=False),
        1.3,
        figure="again",
    ),
    Bar(
        "spark-full",
        "Spark, full load of 1.5 M orders: ours / by hand in PySpark",
        Way("ours", "orders", load="full"),
        Way("full", "orders", load="full"),
        1.10,
    ),
    Bar(
        "spark-full-parts",
        "Spark, the same read in 4 parts: ours / by hand in PySpark",
        Way("ours", "orders", load="full", parts=4),
        Way("full", "orders", load="full", parts=4),
        1.10,
    ),
    Bar(
        "spark-increment",
        "Spark, increment of 1,500 rows on 1.5 M: ours / by hand, with MAX over the target",
        Way("ours", "orders_growing", load="increment"),
        Way("increment", "orders_growing", load="increment"),
        1.3,
    ),
    Bar(
        "spark-increment-literal",
        "Spark, the same: ours / by hand, with a literal for the mark",
        Way("ours", "orders_growing", load="increment"),
        Way("increment_from_literal", "orders_growing", load="increment"),
        1.3,
    ),
    Bar(
        "spark-upsert",
        "Spark, upsert of 100,000 rows into 1.5 M: ours / a bare MERGE",
        Way("ours", "orders_changed", load="upsert"),
        Way("merge", "orders_changed", load="upsert"),
        1.15,
    ),
)

LIMITS = (
    Limit("command-help", "`hwm --help`, as a whole process", COMMAND, "help", 0.35, "s"),
    Limit(
        "command-first-question",
        "`hwm plan` of a notebook, until the source is asked",
        COMMAND,
        "first_question",
        2,
        "s",
    ),
    Limit(
        "command-notebook",
        "`hwm run` of a notebook's load / of the same YAML",
        COMMAND,
        "ratio",
        1.2,
        "times",
    ),
    Limit("card", "the card is on the screen, after planning's end", CARD, "card", 0.5, "s"),
    Limit("card-again", "the same, the second time in the kernel", CARD, "card_again", 0.5, "s"),
    Limit("card-plan", "planning in a fresh kernel, with its imports", CARD, "planning", 1, "s"),
    Limit("card-plan-again", "planning, the second time in the kernel", CARD, "planning_again", 1, "s"),
    Limit("card-notebook", "what a load adds to the saved notebook", CARD, "grown_kb", 60, "kB"),
    Limit("card-progress", "what live progress adds to a load's time", CARD_PROGRESS, "progress", 3, "%"),
    Limit("card-progress-cpu", "the same in processor seconds of the kernel", CARD_PROGRESS, "cpu", 3, "%"),
    Limit(
        "card-progress-share", "a load's time in which its card is painted", CARD_PROGRESS, "share", 3, "%"
    ),
)
