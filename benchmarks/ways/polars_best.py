"""Full load with polars: its reader's default engine, connectorx, and its own ``write_delta``."""

from common import Timer, done, job

with Timer() as importing:
    import polars as pl

task = job()
with Timer() as loading:
    frame = pl.read_database_uri(f"SELECT * FROM {task['table']}", task["url"], engine="connectorx")
    frame.write_delta(task["target"])
done(imports=importing.seconds, seconds=loading.seconds)
