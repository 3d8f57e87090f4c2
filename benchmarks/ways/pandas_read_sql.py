"""Full load, the pandas way: ``pandas.read_sql`` into ``write_deltalake``. Numerics become floats."""

from common import Timer, done, job

with Timer() as importing:
    import pandas as pd
    import sqlalchemy
    from deltalake import write_deltalake

task = job()
with Timer() as loading:
    engine = sqlalchemy.create_engine(task["url"])  # psycopg 3: faster here than psycopg 2
    frame = pd.read_sql(f"SELECT * FROM {task['table']}", engine)
    write_deltalake(task["target"], frame)
done(imports=importing.seconds, seconds=loading.seconds)
