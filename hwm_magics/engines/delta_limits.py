"""What delta-rs can't write, or would write wrong, of the tables that there can be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hwm_magics.core.observed import Column
from hwm_magics.core.schema import of_types

if TYPE_CHECKING:
    from deltalake import DeltaTable

__all__ = ["REFUSED_FEATURES", "UNFIT_PARTITIONS", "beyond"]

REFUSED_FEATURES = frozenset(
    {
        "clustering", "identityColumns", "rowTracking", "domainMetadata", "inCommitTimestamp", "allowColumnDefaults",
        "icebergCompatV1", "icebergCompatV2", "checkpointProtection", "typeWidening", "typeWidening-preview",
        "vacuumProtocolCheck",
    }
)  # fmt: skip
"""Table features that delta-rs 1.6 refuses to write; it says so only when the commit is due."""

UNFIT_PARTITIONS = r"binary|decimal\(\d+,\s*[1-9]\d*\)"
"""Types of partition columns whose values delta-rs 1.6.6 writes or reads wrong, as a regular expression: it writes
-1.50 as ``-1.-50``, after which nobody can open the table, and takes the escapes of bytes for the bytes."""


def beyond(table: DeltaTable, columns: tuple[Column, ...]) -> str:
    """Why delta-rs can't write a table; "" where it can.

    Args:
        table: The table.
        columns: Its columns.
    """
    refused = sorted(set(table.protocol().writer_features or []) & REFUSED_FEATURES)
    if refused:
        return f"its table features {', '.join(refused)} are beyond delta-rs"
    unfit = of_types(columns, table.metadata().partition_columns, UNFIT_PARTITIONS)
    return (
        f"delta-rs writes or reads values wrong of the partition columns {', '.join(unfit)}" if unfit else ""
    )
