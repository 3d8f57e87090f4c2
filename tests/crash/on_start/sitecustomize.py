"""Arms a process before its program begins, as the environment says: ``HWM_TEST_STOP`` is ``PLACE:WHAT``."""

import os

if stop := os.environ.get("HWM_TEST_STOP"):
    from crash.armed import arm

    arm(*stop.split(":"))
