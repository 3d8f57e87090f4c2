"""Makes a Delta table of 10,050 commits, one row each, the last checkpoint 50 commits ago.

Run as a script of its own (it needs Arrow, which the driver must not import). One row is really appended;
its commit is the template that the other commits' files are written from. Every row is a real one of
``orders``, in the order of ``updated_at``, and has a Parquet file of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

CHECKPOINT = 10_000
"""The version of the checkpoint."""
LAST = CHECKPOINT + 50
"""The last version. delta-rs makes a checkpoint every 100 commits, so this is the usual distance."""
ABOVE = 1_500
"""Rows of the source that are newer than the table's newest."""
VERSION = "1"


NODE = "raw.orders"
"""The name that the project gives to a load into ``raw/orders``."""


class SeedCommit(NamedTuple):
    """What a load writes into its commit about itself; all None: nothing.

    Attributes:
        user_metadata: The text under ``userMetadata``.
        app_id, txn_version: The transaction.
    """

    user_metadata: str | None = None
    app_id: str | None = None
    txn_version: int | None = None


def seed_commit_info(version: int, low: str | None, high: str) -> SeedCommit:
    """What the project itself would have written into a commit of this table.

    Has to give the same for the same arguments: the cached table is made again when this changes.

    Args:
        version: The commit's version, from 1 on (version 0 creates the table).
        low: ``updated_at`` of the commit before, as PostgreSQL writes it; None for the first.
        high: ``updated_at`` of this commit's row.
    """
    from hwm_magics.core.commit_info import app_id, encode
    from hwm_magics.core.cursor import CursorKind, CursorType
    from hwm_magics.core.observed import CommitRecord, Watermark

    kind = CursorType(CursorKind.TIMESTAMP, 6, "timestamp without time zone")
    mark = kind.value(high)
    record = CommitRecord(
        version=version,
        committed_at=None,
        node=NODE,
        run_id=f"00000000-0000-4000-8000-{version:012d}",
        kind="first_run" if low is None else "incremental",
        seq=version,
        low=kind.value(low) if low is not None else None,
        high=mark,
        watermark=Watermark("updated_at", mark),
    )
    return SeedCommit(encode(record), app_id(NODE), version)


def fingerprint() -> str:
    """Changes whenever a table made before would differ from one made now."""
    samples = [
        seed_commit_info(
            version, None if version == 1 else "1998-07-31 00:00:00", "1998-08-01 00:00:00.000001"
        )
        for version in (1, CHECKPOINT, LAST)
    ]
    return hashlib.sha256(json.dumps([VERSION, samples]).encode()).hexdigest()


def make(url: str, target: Path) -> None:
    """Make the table in ``target``, which must not be there yet."""
    import pyarrow as pa
    import pyarrow.parquet as pq
    from deltalake import DeltaTable, write_deltalake

    sys.path.insert(0, str(Path(__file__).resolve().parent / "ways"))
    from bare import stream

    newest = f"SELECT * FROM orders ORDER BY updated_at DESC OFFSET {ABOVE} LIMIT {LAST}"
    query = f"SELECT * FROM ({newest}) newest ORDER BY updated_at"
    with stream(url, query) as reader:
        rows = reader.read_all().combine_chunks()
    DeltaTable.create(str(target), schema=rows.schema)
    write_deltalake(str(target), rows.slice(0, 1), mode="append")
    log = target / "_delta_log"
    template = [json.loads(line) for line in (log / f"{1:020d}.json").read_text().splitlines()]
    highs = [f"{value}" for value in rows["updated_at"].to_pylist()]
    with (target / next(action["add"]["path"] for action in template if "add" in action)).open("rb") as file:
        codec = pq.ParquetFile(file).metadata.row_group(0).column(0).compression
    for version in range(1, LAST + 1):
        row: pa.Table = rows.slice(version - 1, 1)
        name = f"part-00000-{version:08d}-c000.parquet"
        pq.write_table(row, target / name, compression=codec)
        seed = seed_commit_info(version, highs[version - 2] if version > 1 else None, highs[version - 1])
        actions = _commit(template, name, (target / name).stat().st_size, row.to_pylist()[0], seed, version)
        text = "\n".join(json.dumps(action, separators=(",", ":")) for action in actions) + "\n"
        (log / f"{version:020d}.json").write_text(text)
        if version == CHECKPOINT:
            DeltaTable(str(target)).create_checkpoint()
    table = DeltaTable(str(target))
    if (table.version(), table.count()) != (LAST, LAST):
        raise SystemExit(f"{target} has version {table.version()} and {table.count()} rows, not {LAST}")


def _commit(
    template: list[dict[str, Any]],
    name: str,
    size: int,
    row: dict[str, Any],
    seed: SeedCommit,
    version: int,
) -> list[dict[str, Any]]:
    actions = []
    for kept in template:
        action = json.loads(json.dumps(kept))
        if "add" in action:
            stats = json.loads(action["add"]["stats"])
            for bounds in ("minValues", "maxValues"):
                stats[bounds] = {column: _stat(row[column], like) for column, like in stats[bounds].items()}
            action["add"].update(path=name, size=size, stats=json.dumps(stats, separators=(",", ":")))
            action["add"]["modificationTime"] += version
        if "commitInfo" in action:
            action["commitInfo"]["timestamp"] += version
            if seed.user_metadata is not None:
                action["commitInfo"]["userMetadata"] = seed.user_metadata
        actions.append(action)
    if seed.app_id is not None:
        actions.append({"txn": {"appId": seed.app_id, "version": seed.txn_version}})
    return actions


def _stat(value: Any, like: Any) -> Any:
    """A value as the statistics have it, of the template's own JSON type."""
    if isinstance(like, str):
        text = value.isoformat() if hasattr(value, "isoformat") else str(value)
        # Times are cut to milliseconds, texts to 32 characters.
        return f"{text[:23]}" if hasattr(value, "hour") else text[:32]
    return type(like)(value)


if __name__ == "__main__":
    task = json.loads(os.environ["HWM_BENCH_JOB"])
    make(task["url"], Path(task["target"]))
