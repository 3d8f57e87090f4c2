"""Full load with dlt: its fastest backend with the fastest settings found, into Delta Lake on local disk.

Tried side by side: connectorx whole, in two partitions, and streamed (this); the pyarrow backend is slower.
"""

import os
from pathlib import Path

from common import Timer, done, job

task = job()
os.environ.update(
    {
        "RUNTIME__DLTHUB_TELEMETRY": "false",
        "RUNTIME__LOG_LEVEL": "ERROR",
        "DLT_DATA_DIR": str(Path(task["scratch"], "dlt")),
    }
)
with Timer() as importing:
    import dlt
    from dlt.sources.sql_database import sql_table

with Timer() as loading:
    source = sql_table(
        credentials=task["url"].replace("postgresql://", "postgresql+psycopg2://"),
        table=task["table"],
        backend="connectorx",
        chunk_size=200_000,
        backend_kwargs={"return_type": "arrow_stream"},
        reflection_level="full_with_precision",
    )
    folder, name = os.path.split(task["path"])
    pipeline = dlt.pipeline(
        "bench",
        destination=dlt.destinations.filesystem(bucket_url=task["root"]),
        dataset_name=folder,
        pipelines_dir=str(Path(task["scratch"], "pipelines")),
    )
    pipeline.run(
        source, table_name=name, write_disposition="append", table_format="delta"
    ).raise_on_failed_jobs()
done(imports=importing.seconds, seconds=loading.seconds)
