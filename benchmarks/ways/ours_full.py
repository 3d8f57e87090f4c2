"""Full load with hwm_magics: a first run into a table that is not there yet."""

import ours
from common import Timer, done, job

with Timer() as importing:
    import hwm_magics  # noqa: F401

task = job()
with Timer() as loading:
    ours.load(task)
done(imports=importing.seconds, seconds=loading.seconds)
