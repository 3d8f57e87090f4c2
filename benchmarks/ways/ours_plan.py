"""Planning with hwm_magics, twice in the same process. The first plan pays for imports made on demand."""

import ours
from common import Timer, done, job

with Timer() as importing:
    import hwm_magics  # noqa: F401

task = job()
with Timer() as first:
    ours.plan(task)
with Timer() as again:
    decision = ours.plan(task)
done(imports=importing.seconds, seconds=first.seconds, again=again.seconds, decision=decision)
