"""Stops a load at a named place, in whatever way it was started: this is put around the step that loads."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING, Any

from hwm_magics.app import Workspace

if TYPE_CHECKING:
    import threading

LONGEST = 60.0


def arm(place: str, what: str, time: int = 1) -> None:
    """Have every load of this process stop at a place.

    Args:
        place: The failpoint.
        what: ``kill``: the process kills itself; ``term``: it sends itself a SIGTERM, and goes on when the load
            was asked to stop; ``wait``: it tells the place on the standard output, and goes on in the same way;
            ``stay``: it tells the place and never goes on.
        time: It stops the so many-th time that it comes there.
    """
    load = Workspace.load
    passed = 0

    def armed(self: Workspace, *args: Any, cancelled: threading.Event | None = None, **options: Any) -> Any:
        def failpoint(name: str) -> None:
            nonlocal passed
            passed += name == place
            if name != place or passed != time:
                return
            if what == "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            if what == "term":
                os.kill(os.getpid(), signal.SIGTERM)
            else:
                os.write(1, f"{name}\n".encode())
            if what == "stay":
                signal.pause()
            assert cancelled is not None
            assert cancelled.wait(LONGEST), "nobody asked it to stop"

        self.failpoint = failpoint
        return load(self, *args, cancelled=cancelled, **options)

    Workspace.load = armed
