"""The order in which loads run: each behind those that it depends on."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from hwm_magics.errors import ConfigError

if TYPE_CHECKING:
    from hwm_magics.core.specs import LoadSpec

__all__ = ["in_order"]


def in_order(specs: Iterable[LoadSpec]) -> tuple[LoadSpec, ...]:
    """Put loads behind those that they depend on, and otherwise leave them as written.

    Dependencies that are not among them count as met.

    Raises:
        ConfigError: They depend on each other in a circle.
    """
    waiting = list(specs)
    here = {spec.node for spec in waiting}
    ordered: list[LoadSpec] = []
    done: set[str] = set()
    while waiting:
        ready = next(
            (spec for spec in waiting if all(n in done or n not in here for n in spec.depends_on)), None
        )
        if ready is None:
            names = ", ".join(spec.node for spec in waiting)
            raise ConfigError(
                f"these nodes depend on each other in a circle: {names}", hint="correct depends_on"
            )
        waiting.remove(ready)
        ordered.append(ready)
        done.add(ready.node)
    return tuple(ordered)
