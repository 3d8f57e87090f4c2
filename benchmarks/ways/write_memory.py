"""The writer's own pace: the same rows, held in memory as Arrow, into ``write_deltalake``. Reading is not counted."""

from bare import stream
from common import Timer, done, job
from deltalake import write_deltalake

task = job()
with stream(task["url"], f"SELECT * FROM {task['table']}") as reader:
    table = reader.read_all()
with Timer() as loading:
    write_deltalake(task["target"], table)
done(imports=0.0, seconds=loading.seconds)
