"""Full load by ODBC, the pandas way: pyodbc's rows, a DataFrame, ``write_deltalake``."""

from common import Timer, done, job

with Timer() as importing:
    import pandas as pd
    import pyodbc
    from deltalake import write_deltalake

task = job()
with Timer() as loading:
    cursor = pyodbc.connect(task["url"], autocommit=True).execute(f"SELECT * FROM {task['table']}")
    names = [column[0] for column in cursor.description]
    # What pandas.read_sql does with such a cursor, without its warning that it prefers SQLAlchemy.
    frame = pd.DataFrame.from_records(cursor.fetchall(), columns=names, coerce_float=True)
    write_deltalake(task["target"], frame)
done(imports=importing.seconds, seconds=loading.seconds)
