"""``defaults:`` of ``hwm.yaml``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from hwm_magics.config.fields import choice
from hwm_magics.config.models import Engine, ReadModel, RunMode, Strict, WriteModel, block

__all__ = ["DefaultsModel"]


class DefaultsModel(Strict):
    """Settings for loads that don't say otherwise."""

    engine: Annotated[Engine, choice(Engine)] | None = Field(None, description="What reads and writes.")
    mode: Annotated[RunMode, choice(RunMode, {"dry_run": "dry-run"})] | None = Field(
        None, description="What a cell does: ask, plan, dry-run or run."
    )
    read: Annotated[ReadModel | None, block("connection, incremental, …")] = Field(
        None, description="Settings of `read`."
    )
    write: Annotated[WriteModel | None, block("connection, mode, …")] = Field(
        None, description="Settings of `write`."
    )
