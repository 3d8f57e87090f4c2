"""Opening a table, twice in the same process."""

from common import Timer, done, job

with Timer() as importing:
    from deltalake import DeltaTable

task = job()
with Timer() as first:
    DeltaTable(task["target"])
with Timer() as again:
    version = DeltaTable(task["target"]).version()
done(imports=importing.seconds, seconds=first.seconds, again=again.seconds, version=version)
