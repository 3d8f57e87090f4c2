"""Full load by ODBC, the bare stream: arrow-odbc into ``write_deltalake``, everything at its default."""

from common import Timer, done, job

with Timer() as importing:
    import arrow_odbc
    import pyarrow as pa
    from deltalake import write_deltalake

task = job()
with Timer() as loading:
    batches = arrow_odbc.read_arrow_batches_from_odbc(
        query=f"SELECT * FROM {task['table']}", connection_string=task["url"]
    )
    write_deltalake(task["target"], pa.RecordBatchReader.from_batches(batches.schema, batches))
done(imports=importing.seconds, seconds=loading.seconds)
