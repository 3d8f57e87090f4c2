"""Rollback and maintenance of a load's target: a plan first, then what it says."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from hwm_magics.core.commit_info import written
from hwm_magics.core.decided import MANY_SMALL_FILES
from hwm_magics.core.observed import CommitRecord
from hwm_magics.core.receipt import size
from hwm_magics.core.words import counted
from hwm_magics.errors import BlockedError, ConfigError

if TYPE_CHECKING:
    from hwm_magics.app import Workspace
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import OpenTarget

__all__ = ["Maintenance", "Rollback", "plan_maintenance", "plan_rollback"]

RETENTION = timedelta(days=7)
"""Delta Lake's own default: what a vacuum leaves for readers and for going back."""

_MOST_RECORDS = 1000


@dataclass(frozen=True, slots=True)
class Rollback:
    """Going back to an earlier version, planned.

    Attributes:
        node: The load.
        label: Its target.
        version: The target's version now.
        to: The version to go back to.
        undone: The loads that this undoes, newest first, of all nodes.
        unknown: How many commits of others are undone beside them.
        warnings: Sentences.
    """

    node: str
    label: str
    version: int
    to: int
    undone: tuple[CommitRecord, ...]
    unknown: int
    warnings: tuple[str, ...]
    target: OpenTarget

    @property
    def text(self) -> str:
        """The plan in words."""
        head = f"ROLLBACK · {self.node}: will restore {self.label} from version {self.version} to version {self.to}"
        lines = [head]
        for each in self.undone:
            rows = written(each.metrics).rows
            told = "" if rows is None else f", {counted(rows, 'row')}"
            lines.append(f"  undoes version {each.version}: {each.told} of {each.node}{told}")
        if self.unknown:
            lines.append(f"  undoes {counted(self.unknown, 'commit')} of others or of no rows")
        lines += [f"  ! {text}" for text in self.warnings]
        lines.append(
            "  · this is a commit of its own: it can be undone in the same way, and the next load goes on from the "
            "watermark of the version that comes back"
        )
        return "\n".join(lines)

    @property
    def does_something(self) -> bool:
        """Whether there is anything to do: always."""
        return True

    def to_dict(self) -> dict[str, object]:
        """The plan as JSON-ready values."""
        return {
            "node": self.node,
            "version": self.version,
            "to": self.to,
            "undone": [
                {"version": each.version, "node": each.node, "kind": each.kind} for each in self.undone
            ],
            "others": self.unknown,
            "warnings": list(self.warnings),
        }

    def run(self) -> str:
        """Do it.

        Returns:
            What happened, in a sentence.

        Raises:
            StalePlanError: Somebody committed meanwhile; nothing was restored.
            CommitError: A file of that version is gone, or the commit failed.
        """
        made = self.target.upkeep.restore(self.to)
        return f"{self.node}: {self.label} is as it was at version {self.to}; this is version {made}"


def plan_rollback(workspace: Workspace, spec: LoadSpec, to: int | None = None) -> Rollback:
    """Plan to go back.

    Args:
        workspace: Where the target is.
        spec: The load.
        to: The version; by default the one before the load's newest commit that holds.

    Raises:
        ConfigError: There is no such version.
        BlockedError: The target does not exist, or holds no load to undo.
    """
    target = workspace.existing(spec, "to roll back")
    state = target.state
    version = state.version or 0
    if to is None:
        last = state.last_load
        if last is None or last.version < 1:
            raise BlockedError(
                f"{spec.write.label} holds no load of {spec.node} to undo",
                hint="name a version: --to VERSION",
            )
        to = last.version - 1
    if not 0 <= to < version:
        raise ConfigError(
            f"{spec.write.label} is at version {version}, and can't go back to version {to}",
            hint="%hwm_history shows the versions",
        )
    records = workspace.history(spec, _MOST_RECORDS)
    undone = tuple(each for each in records if to < each.version <= version)
    others = sorted({each.node for each in undone if each.node != spec.node})
    warnings = (f"loads of {', '.join(others)} are undone too",) if others else ()
    return Rollback(
        spec.node, spec.write.label, version, to, undone, version - to - len(undone), warnings, target
    )


@dataclass(frozen=True, slots=True)
class Maintenance:
    """Care for a table's files, planned.

    Attributes:
        node: The load.
        label: Its target.
        files: How many files the table has.
        bytes: Their size, in bytes.
        small: How many of them are small.
        order: Columns to order the files by; empty for none.
        compact: Whether small files are written together.
        removable: Files that a vacuum would remove; None when none was asked for.
        older: What the vacuum leaves: files that versions younger than this need.
    """

    node: str
    label: str
    files: int
    bytes: int
    small: int
    order: tuple[str, ...]
    compact: bool
    removable: int | None
    older: timedelta
    target: OpenTarget

    def to_dict(self) -> dict[str, object]:
        """The plan as JSON-ready values."""
        return {
            "node": self.node,
            "files": self.files,
            "bytes": self.bytes,
            "small": self.small,
            "order": list(self.order),
            "compact": self.compact,
            "removable": self.removable,
        }

    @property
    def does_something(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.order or self.compact or self.removable)

    @property
    def text(self) -> str:
        """The plan in words."""
        told = f"{counted(self.files, 'file')}, {size(self.bytes)}, {self.small:,} of them small"
        lines = [f"MAINTENANCE · {self.node}: {self.label} has {told}"]
        if self.order:
            lines.append(f"  will write its files anew, ordered by {', '.join(self.order)}")
        elif self.compact:
            lines.append("  will write small files together")
        if self.removable == 0:
            lines.append("  a vacuum finds no files to remove")
        elif self.removable is not None:
            days = self.older / timedelta(days=1)
            lines.append(
                f"  will remove {counted(self.removable, 'file')} that no version of the last {days:g} days needs: "
                "older versions can't be read or restored afterwards"
            )
        if not self.does_something:
            lines.append("  there is nothing to do")
        return "\n".join(lines)

    def run(self) -> str:
        """Do it.

        Returns:
            What happened, in a sentence.

        Raises:
            CommitError: A step failed; those before it hold.
        """
        upkeep = self.target.upkeep
        if self.order:
            upkeep.order(self.order)
        elif self.compact:
            upkeep.compact()
        if self.removable:
            upkeep.vacuum(self.older, dry_run=False)
        after = self.target.upkeep.files()
        return f"{self.node}: {self.label} has {counted(after.count, 'file')} now, {size(after.bytes)}"


def plan_maintenance(
    workspace: Workspace,
    spec: LoadSpec,
    *,
    compact: bool | None = None,
    order: bool = False,
    vacuum: bool = False,
    older: timedelta = RETENTION,
) -> Maintenance:
    """Plan the care of a target's files.

    Args:
        workspace: Where the target is.
        spec: The load.
        compact: Whether to write small files together; None for when there are many.
        order: Order the files by ``write.cluster_by``.
        vacuum: Remove files that no younger version needs.
        older: How young a version must be to keep its files.

    Raises:
        ConfigError: The files are to be ordered, and no columns are named.
        BlockedError: The target does not exist.
        CommitError: The vacuum is refused: the table keeps its files for longer.
    """
    if order and not spec.write.cluster_by:
        raise ConfigError(
            f"{spec.node} names no columns to order the files by", hint="add write.options.cluster_by"
        )
    target = workspace.existing(spec, "to maintain")
    files = target.upkeep.files()
    together = files.small >= MANY_SMALL_FILES if compact is None else compact
    removable = target.upkeep.vacuum(older, dry_run=True) if vacuum else None
    return Maintenance(
        spec.node,
        spec.write.label,
        files.count,
        files.bytes,
        files.small,
        spec.write.cluster_by if order else (),
        together and not order,
        removable,
        older,
        target,
    )
