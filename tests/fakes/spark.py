"""The one Spark session of a test process: starting one takes longer than most tests."""

from __future__ import annotations

import functools
import os
from typing import TYPE_CHECKING

from hwm_magics.engines.spark_sql import quote
from hwm_magics.spark.session import build

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

SMALL = {
    "spark.sql.codegen.wholeStage": "false",
    "spark.sql.codegen.factoryMode": "NO_CODEGEN",
    "spark.sql.adaptive.enabled": "false",
    "spark.sql.shuffle.partitions": "1",
    "spark.default.parallelism": "1",
    "spark.sql.sources.parallelPartitionDiscovery.parallelism": "1",
    # Thousands of queries, of which nobody looks at the pages: their plans alone filled the memory.
    "spark.sql.ui.retainedExecutions": "10",
    "spark.ui.retainedJobs": "10",
    "spark.ui.retainedStages": "10",
    "spark.ui.retainedTasks": "10",
}
"""Queries over a handful of rows, each of which would be compiled for longer than it runs."""

ON_CONNECT = os.environ.get("HWM_TEST_SPARK") == "connect"
"""Whether this process tests Spark Connect: the two kinds of session can't live in one process."""

COMPILING = (
    "-XX:TieredStopAtLevel=1"
    if ON_CONNECT
    else "-XX:Tier4InvocationThreshold=20000 -XX:Tier4MinInvocationThreshold=2400"
    " -XX:Tier4CompileThreshold=60000 -XX:Tier4BackEdgeThreshold=160000"
)
"""Compiling little is sooner ready, for some dozens of loads; of hundreds each takes half as long again. Four times
the usual thresholds nearly halve what the second compiler costs in the first hundred loads."""

JVM = f"-XX:+UseSerialGC -Xmn1g -Djdk.lang.Process.launchMechanism=VFORK {COMPILING}"
"""Much room for what is young: hardly anything of a load survives it. Spark starts processes to set files' modes."""

MEMORY = "3g"
"""With Spark's own 1 GB a session of some hundred tables spends ever more of its time on finding some free."""


@functools.cache
def shared_session() -> SparkSession:
    """A session with Delta Lake; with HWM_TEST_SPARK=connect that of a Connect server, which it starts."""
    options = f'--driver-memory {MEMORY} --driver-java-options "{JVM}" pyspark-shell'
    os.environ.setdefault("PYSPARK_SUBMIT_ARGS", options)
    os.environ["SPARK_REMOTE" if ON_CONNECT else "MASTER"] = "local[1]"
    return build(SMALL)


def forget_names(session: SparkSession) -> None:
    """Drop all schemas but the default one, and all tables: names of one test must not meet another."""
    for row in session.sql("SHOW SCHEMAS").collect():
        if row[0] != "default":
            session.sql(f"DROP SCHEMA {quote(row[0])} CASCADE").collect()
    for row in session.sql("SHOW TABLES IN default").collect():
        if not row["isTemporary"]:
            session.sql(f"DROP TABLE default.{quote(row['tableName'])}").collect()
