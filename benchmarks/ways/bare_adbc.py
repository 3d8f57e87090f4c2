"""Full load, the bare stream: ADBC into ``write_deltalake``, everything at its default."""

from common import Timer, done, job

with Timer() as importing:
    from bare import stream
    from deltalake import write_deltalake

task = job()
with Timer() as loading, stream(task["url"], f"SELECT * FROM {task['table']}") as reader:
    write_deltalake(task["target"], reader)
done(imports=importing.seconds, seconds=loading.seconds)
