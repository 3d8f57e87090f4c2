"""Full load with odbc2deltalake: its ADBC reader, and the plain load without its delta bookkeeping.

Tried side by side: ADBC (this) and its ODBC reader, which is slower. Texts are left as they are, as everybody else
leaves them; the three columns that it adds of its own stay.
"""

from pathlib import Path

from common import Timer, done, job

with Timer() as importing:
    from adbc_driver_postgresql import dbapi
    from odbc2deltalake import WriteConfig, make_writer
    from odbc2deltalake.reader.adbc_reader import ADBCReader

task = job()
made = Path(task["scratch"], "made")
with Timer() as loading:
    with dbapi.connect(task["url"]) as connection:
        make_writer(
            ADBCReader(connection),
            (task["schema"], task["table"]),
            made,
            WriteConfig(dialect="postgres", load_mode="overwrite", no_trim=True),
        ).execute()
    target = Path(task["target"])
    target.parent.mkdir(parents=True, exist_ok=True)
    (made / "delta").rename(target)  # where it is looked for; it has the table in a folder below
done(imports=importing.seconds, seconds=loading.seconds)
