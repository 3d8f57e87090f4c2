"""Full load with connectorx: its stream of Arrow batches into ``write_deltalake``."""

from common import Timer, done, job

with Timer() as importing:
    import connectorx as cx
    from deltalake import write_deltalake

task = job()
with Timer() as loading:
    reader = cx.read_sql(task["url"], f"SELECT * FROM {task['table']}", return_type="arrow_stream")
    write_deltalake(task["target"], reader)
done(imports=importing.seconds, seconds=loading.seconds)
