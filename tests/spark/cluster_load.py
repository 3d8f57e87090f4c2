"""A load on a cluster, in a process of its own: `cluster_load.py MASTER YAML`. Tells how far it is, a line each."""

from __future__ import annotations

import sys
from pathlib import Path

from delta import configure_spark_with_delta_pip
from pyspark.sql import SparkSession

import hwm_magics
from hwm_magics.spark.session import JDBC_DRIVERS, SETTINGS


def session(master: str) -> SparkSession:
    """A session on the cluster, as its user would start it."""
    builder = SparkSession.builder.master(master).appName("cluster_load")
    for key, value in SETTINGS.items():
        builder = builder.config(key, value)
    builder = builder.config("spark.executor.memory", "700m").config("spark.executor.cores", "1")
    return configure_spark_with_delta_pip(builder, extra_packages=list(JDBC_DRIVERS)).getOrCreate()


def main() -> None:
    spark = session(sys.argv[1])
    job = hwm_magics.job(Path(sys.argv[2]).read_text())

    def tell() -> None:
        progress = job.progress
        if progress is not None and progress.tasks:
            print(f"tasks {progress.tasks_done} of {progress.tasks}", flush=True)

    job.on_change(tell)
    result = job.run().wait()
    print(
        f"result {result.status} {result.rows_read} {result.rows_written} {result.version_after}", flush=True
    )
    spark.stop()


if __name__ == "__main__":
    main()
