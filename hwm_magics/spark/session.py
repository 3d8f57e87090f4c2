"""The Spark session that loads run in: the notebook's own, or one that is built here with Delta Lake."""

from __future__ import annotations

import atexit
import os
import socket
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from hwm_magics.errors import EngineError, EngineNotInstalledError, clean_message
from hwm_magics.spark.failures import condition

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

__all__ = ["active", "build", "describe", "is_connect", "is_local", "is_own", "verify"]

JDBC_DRIVERS = ("org.postgresql:postgresql:42.7.11", "com.microsoft.sqlserver:mssql-jdbc:13.6.2.jre11")
"""What a session built here can read from beside Delta Lake, by Maven coordinates."""

SETTINGS = {
    "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
    "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    # The log of a table on one machine is small: 50 partitions for it cost more than all else.
    "spark.databricks.delta.snapshotPartitions": "1",
    "spark.sql.shuffle.partitions": str(max(2, os.cpu_count() or 2)),
    # A vacuum lists the table's files in so many tasks: 10,000 unless told, minutes on one machine.
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "32",
    # Hadoop reads links and sets modes by starting processes, and for a commit's .crc file by eight more, some
    # of them between the look for the commit of another and the rename.
    "spark.hadoop.fs.AbstractFileSystem.file.impl": "org.apache.hadoop.fs.local.RawLocalFs",
    # Spark's own default, INT96, is nanoseconds to other readers, and those end in the year 2262.
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    # Spark's own words for what it never shows, and Azure's for the key of a storage account.
    "spark.redaction.regex": "(?i)secret|password|token|access[.]?key|account[.]?key",
    "spark.ui.showConsoleProgress": "false",
    "spark.ui.enabled": "false",
    "spark.log.level": "ERROR",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
}
"""A session for one machine. Whoever wants others starts the session: it is used as it is found."""

_OWN = "spark.hwm_magics.own"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROBE_SECONDS = 5.0

# pyspark 4.2 says this of pandas 3 at every turn, though Arrow carries everything here.
warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)


def active() -> SparkSession | None:
    """The session that the process has, or None.

    It is found from any thread: Spark remembers the newest session beside the thread's own.
    """
    if "pyspark.sql" not in sys.modules:
        return None
    from pyspark.errors import PySparkException
    from pyspark.sql import SparkSession

    try:
        return SparkSession.active()
    except (PySparkException, RuntimeError):
        return None


def is_connect(session: SparkSession) -> bool:
    """Whether the session speaks to a Spark Connect server."""
    return any(each.__module__.startswith("pyspark.sql.connect") for each in type(session).__mro__)


def is_local(session: SparkSession) -> bool:
    """Whether the session sees this machine's files: all of it runs here."""
    master = str(session.conf.get("spark.master", "") or "")
    if not master.startswith("local"):
        return False
    return not is_connect(session) or str(getattr(session.client, "host", "")) in _LOOPBACK


def is_own(session: SparkSession) -> bool:
    """Whether the session was built here, on this machine: what loads need may be set on such a one."""
    return session.conf.get(_OWN, None) is not None


def describe(session: SparkSession) -> str:
    """The session in a few words, such as ``Spark 4.2.0 (local[2])``."""
    master = str(session.conf.get("spark.master", "") or "")
    place = "Spark Connect" if is_connect(session) else ""
    told = ", ".join(part for part in (place, master) if part)
    return f"Spark {session.version} ({told})" if told else f"Spark {session.version}"


def verify(session: SparkSession) -> None:
    """Make sure that a session knows Delta Lake, by a question whose answer only Delta can give.

    Raises:
        EngineNotInstalledError: It does not.
        EngineError: It does not answer.
    """
    try:
        session.catalog.tableExists("delta.`/nonexistent/hwm_magics`")
    except Exception as error:
        name = condition(error)
        if name == "DELTA_MISSING_DELTA_TABLE":
            return
        if name is None:
            raise EngineError(
                f"the Spark session does not answer: {clean_message(error)}", hint="start it again"
            ) from error
    raise EngineNotInstalledError(
        f"the Spark session, {describe(session)}, has no Delta Lake",
        hint="start it with delta-spark: spark.sql.extensions=io.delta.sql.DeltaSparkSessionExtension and "
        "spark.sql.catalog.spark_catalog=org.apache.spark.sql.delta.catalog.DeltaCatalog",
    )


def build(settings: Mapping[str, str] | None = None, packages: Sequence[str] = ()) -> SparkSession:
    """Build a session with Delta Lake: on this machine, or on the server that ``SPARK_REMOTE`` names.

    Args:
        settings: Further settings, and others in the place of :data:`SETTINGS`.
        packages: What it has beside Delta Lake and the JDBC drivers, by Maven coordinates.

    Returns:
        The session; it is the process's own from now on.

    Raises:
        EngineNotInstalledError: pyspark, delta-spark or Java is not there.
        EngineError: It does not start.
    """
    for module in ("pyspark", "delta"):
        if find_spec(module) is None:
            raise EngineNotInstalledError(
                "engine: spark needs pyspark and delta-spark", hint="pip install 'hwm-magics[spark]'"
            )
    from delta import configure_spark_with_delta_pip
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.appName("hwm_magics")
    remote = os.environ.get("SPARK_REMOTE", "")
    if remote and not remote.startswith("local"):
        _probe(remote)
        return builder.remote(remote).getOrCreate()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    for key, value in {**SETTINGS, _OWN: "true", **(settings or {})}.items():
        builder = builder.config(key, value)
    builder = builder.remote(remote) if remote else builder.master(os.environ.get("MASTER", "local[*]"))
    builder = configure_spark_with_delta_pip(builder, extra_packages=[*JDBC_DRIVERS, *packages])
    with _quiet() as told, warnings.catch_warnings():
        if remote:
            # The server of its own that pyspark starts has them all: told again, it says that it keeps them.
            warnings.filterwarnings("ignore", message=r"Failed to set .*\[CANNOT_MODIFY_(STATIC_)?CONFIG\]")
        try:
            return builder.getOrCreate()
        except Exception as error:
            raise _not_started(error, told) from error


def _probe(remote: str) -> None:
    """An unreachable server would be waited for during minutes."""
    place = urlsplit(remote)
    host, port = place.hostname or "localhost", place.port or 15002
    try:
        socket.create_connection((host, port), timeout=_PROBE_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"no Spark Connect server answers at {host}:{port}: {error}", hint="check SPARK_REMOTE"
        ) from error


def _not_started(error: Exception, told: Path) -> EngineError:
    text = told.read_text(errors="replace") if told.exists() else ""
    if "JAVA_GATEWAY_EXITED" in str(error) and ("java: not found" in text or "JAVA_HOME" in text):
        return EngineNotInstalledError(
            "Spark needs Java, and finds none", hint="install a JDK 17 (openjdk-17-jre-headless)"
        )
    if "FAILED DOWNLOADS" in text or "UNRESOLVED DEPENDENCIES" in text:
        return EngineNotInstalledError(
            "Spark could not fetch Delta Lake's jars by Ivy",
            hint=f"check the way to Maven Central and the caches of Ivy and Maven; Spark's own words are in {told}",
        )
    return EngineError(f"Spark does not start: {clean_message(error)}", hint=f"its own words are in {told}")


@contextmanager
def _quiet() -> Iterator[Path]:
    """Let what Spark's JVM has to say go to a file: it keeps the streams that it was started with."""
    handle, name = tempfile.mkstemp(prefix="hwm-spark-", suffix=".log")
    told = Path(name)
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        os.dup2(handle, 2)
        yield told
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(handle)
        atexit.register(_forget, told)


def _forget(told: Path) -> None:
    with suppress(OSError):
        if not told.stat().st_size:
            told.unlink()
