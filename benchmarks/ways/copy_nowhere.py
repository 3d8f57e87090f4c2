"""The server's own pace: ``COPY … TO STDOUT (FORMAT binary)`` by psql, thrown away. Makes no table."""

import subprocess

from common import Timer, done, job

task = job()
with Timer() as loading:
    subprocess.run(
        ["psql", "-X", "-q", "-d", task["url"], "-c", f"COPY {task['table']} TO STDOUT (FORMAT binary)"],
        stdout=subprocess.DEVNULL,
        check=True,
    )
done(imports=0.0, seconds=loading.seconds)
