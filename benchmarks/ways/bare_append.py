"""Increment, the bare append: open the table, read what is newer than a literal, append it."""

from common import Timer, done, job

with Timer() as importing:
    from bare import stream
    from deltalake import DeltaTable, write_deltalake

task = job()
query = f"SELECT * FROM {task['table']} WHERE updated_at > '{task['since']}'"
with Timer() as loading:
    table = DeltaTable(task["target"])
    with stream(task["url"], query) as reader:
        write_deltalake(table, reader, mode="append")
done(imports=importing.seconds, seconds=loading.seconds)
