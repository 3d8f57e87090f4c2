"""The calls behind ``import hwm_magics``: all that the cell does, for scripts and tests."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar

from hwm_magics.core.cursor import Scalar
from hwm_magics.core.specs import LoadSpec
from hwm_magics.errors import ConfigError
from hwm_magics.jobs.context import LoadContext, Overrides, read_window
from hwm_magics.jobs.failures import sealed

if TYPE_CHECKING:
    from hwm_magics.app import TargetStatus
    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.observed import CommitRecord
    from hwm_magics.jobs.doctor import Health
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs
    from hwm_magics.jobs.reconcile import Reconciliation
    from hwm_magics.jobs.upkeep import Maintenance, Rollback

__all__ = [
    "describe",
    "doctor",
    "export",
    "history",
    "job",
    "load",
    "maintain",
    "plan",
    "reconcile",
    "rollback",
    "status",
    "table_exists",
    "watermark",
]

P = ParamSpec("P")
R = TypeVar("R")

What: TypeAlias = str | Path | Mapping[str, Any] | Sequence[Any] | LoadSpec
"""YAML text, a path to a YAML file, the mapping or list that it would give, or a spec."""


def _guarded(function: Callable[P, R]) -> Callable[P, R]:
    """Let errors leave without secrets, in a class of ours."""

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except Exception as error:  # noqa: BLE001 - raised again, in a class of ours
            raise sealed(error) from None

    return call


class _Request:
    """What a call is about."""

    def __init__(
        self,
        what: What,
        *,
        connections: Mapping[str, object] | None,
        params: Mapping[str, Scalar] | None = None,
        node: str | Sequence[str] | None = None,
        engine: str | None = None,
        force_first_run: bool = False,
        backfill: tuple[str, str] | str | None = None,
    ) -> None:
        start = None
        if isinstance(what, Path) or (
            isinstance(what, str) and "\n" not in what and what.endswith((".yaml", ".yml"))
        ):
            start = Path(what).absolute().parent
        self.context = LoadContext(start, connections=connections)
        nodes = () if node is None else (node,) if isinstance(node, str) else tuple(node)
        window = read_window(backfill) if isinstance(backfill, str) else backfill
        overrides = Overrides(nodes, engine, force_first_run, window)
        self.asked = self.context.read(what, overrides, params=params)

    @property
    def one(self) -> bool:
        """Whether it is about one load, so that one answer is given and no tuple."""
        return len(self.asked.loads) == 1

    def only(self) -> LoadSpec:
        """The one load.

        Raises:
            ConfigError: There are several.
        """
        from hwm_magics.jobs.context import only

        loads = self.asked.loads
        return only(loads, f"this is for one node, and there are {len(loads)}", choose="node=")


@_guarded
def plan(
    what: What,
    *,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | Sequence[str] | None = None,
    engine: str | None = None,
    force_first_run: bool = False,
    backfill: tuple[str, str] | str | None = None,
) -> LoadPlan | tuple[LoadPlan, ...]:
    """Look at target and source, and decide. Nothing is written.

    Args:
        what: The load: YAML text, a YAML file, a mapping, or a spec.
        connections: Connections by name beside those of hwm.yaml: mappings, or live objects.
        params: Values for ``${name}``.
        node: A node, or several; all when None.
        engine: Another engine.
        force_first_run: Plan to replace all rows.
        backfill: Plan to load this window again: two bounds, or ``LOW..HIGH``.

    Returns:
        The plan, BLOCKED or not; for several nodes a tuple, in the order of their dependencies.

    Raises:
        ConfigError: What was asked for can't be understood.
        SourceError: The source can't be reached, or refuses the query.
    """
    request = _Request(
        what,
        connections=connections,
        params=params,
        node=node,
        engine=engine,
        force_first_run=force_first_run,
        backfill=backfill,
    )
    workspace = request.context.workspace
    plans = tuple(workspace.plan(spec) for spec in request.asked.loads)
    return plans[0] if request.one else plans


@_guarded
def describe(plan: LoadPlan) -> str:
    """A plan in words, as cells and the shell show it."""
    from hwm_magics.core.render import to_text
    from hwm_magics.jobs.report import plan_told

    return to_text(plan_told(plan))


@_guarded
def doctor(file: str | Path | None = None, *, params: Mapping[str, Scalar] | None = None) -> Health:
    """Look for what keeps loads from working; nothing is written.

    Args:
        file: A notebook or a YAML file; None for the machine and the connections of hwm.yaml alone.
        params: Values for ``${name}``.

    Returns:
        The checks; ``.well`` tells whether nothing is to be seen to, ``.table`` shows them.
    """
    from hwm_magics.jobs.doctor import examine

    return examine(Path(file) if file is not None else None, params=params)


@_guarded
def export(
    file: str | Path,
    to: str,
    out: str | Path | None = None,
    *,
    params: Mapping[str, Scalar] | None = None,
    schedule: str = "0 6 * * *",
    timezone: str = "UTC",
    package: str = "",
    task: str = "notebook",
    overwrite: bool = False,
) -> tuple[Path, ...]:
    """Write a file's loads as something that others run: parameterised, pinned, no credentials.

    Args:
        file: A notebook or a YAML file.
        to: ``ipynb``, ``py``, ``airflow``, ``databricks``, ``github-actions`` or ``cron``.
        out: The artefact's folder; default: ``NAME-TO`` beside the file.
        params: Values for ``${name}``, which become the artefact's defaults.
        schedule: When it runs, as cron says it.
        timezone: The IANA zone of the schedule.
        package: What pip installs for this package; "" for this version of it.
        task: Databricks' kind of task: ``notebook`` or ``wheel``.
        overwrite: Whether files that are there and differ may be replaced.

    Returns:
        The files, the main one first.

    Raises:
        ConfigError: The file can't be understood, or must not be exported as it is.
    """
    from hwm_magics.jobs.export.targets import export as make

    place = Path(out) if out is not None else None
    files, _ = make(
        Path(file),
        params or {},
        target=to,
        out=place,
        schedule=schedule,
        timezone=timezone,
        package=package,
        task=task,
        overwrite=overwrite,
    )
    return files


@_guarded
def job(
    what: What,
    *,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | Sequence[str] | None = None,
    engine: str | None = None,
    force_first_run: bool = False,
    backfill: tuple[str, str] | str | None = None,
    dry_run: bool = False,
    background: bool = False,
) -> LoadJob | LoadJobs:
    """A load as a :class:`LoadJob`, not yet planned and not started; arguments as of :func:`load`.

    Args:
        background: Let ``.run()`` return at once; ``.wait()`` waits.
    """
    from hwm_magics.jobs.load_job import LoadJob
    from hwm_magics.jobs.load_jobs import LoadJobs

    request = _Request(
        what,
        connections=connections,
        params=params,
        node=node,
        engine=engine,
        force_first_run=force_first_run,
        backfill=backfill,
    )
    workspace = request.context.workspace
    jobs = [LoadJob(workspace, spec, dry_run=dry_run, background=background) for spec in request.asked.loads]
    return jobs[0] if request.one else LoadJobs(jobs, background=background)


@_guarded
def load(
    what: What,
    *,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | Sequence[str] | None = None,
    engine: str | None = None,
    force_first_run: bool = False,
    backfill: tuple[str, str] | str | None = None,
    dry_run: bool = False,
) -> LoadResult | tuple[LoadResult, ...]:
    """Plan and load, without asking.

    Args:
        what: The load: YAML text, a YAML file, a mapping, or a spec.
        connections: Connections by name beside those of hwm.yaml: mappings, or live objects.
        params: Values for ``${name}``.
        node: A node, or several; all when None.
        engine: Another engine.
        force_first_run: Replace all rows of the target, in one commit.
        backfill: Load this window again: two bounds, or ``LOW..HIGH``.
        dry_run: Read and check the first rows, and write nothing.

    Returns:
        What happened; for several nodes a tuple, in the order of their dependencies.

    Raises:
        ConfigError: What was asked for can't be understood.
        PlanError: The plan is BLOCKED.
        EngineError: Source or target failed.
        CommitError: The commit failed.
        LoadCancelled: It was interrupted.
    """
    made = job(
        what,
        connections=connections,
        params=params,
        node=node,
        engine=engine,
        force_first_run=force_first_run,
        backfill=backfill,
        dry_run=dry_run,
    )
    made.run()
    if isinstance(made, Sequence):
        return tuple(each.wait() for each in made)
    return made.wait()


@_guarded
def status(
    what: What,
    *,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | Sequence[str] | None = None,
) -> TargetStatus | tuple[TargetStatus, ...]:
    """How a load's target stands; the source is not asked. For several nodes a tuple."""
    request = _Request(what, connections=connections, params=params, node=node)
    workspace = request.context.workspace
    found = tuple(workspace.status(spec) for spec in request.asked.loads)
    return found[0] if request.one else found


@_guarded
def history(
    what: What,
    *,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | None = None,
    limit: int = 20,
) -> tuple[CommitRecord, ...]:
    """The loads that the target's own log knows, newest first, of all nodes.

    Args:
        limit: At most so many.
    """
    request = _Request(what, connections=connections, params=params, node=node)
    return request.context.workspace.history(request.only(), limit)


@_guarded
def watermark(
    what: What,
    *,
    set: Scalar = None,  # noqa: A002 - the same word as in %hwm_watermark --set
    adopt: bool = False,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | None = None,
) -> str | None:
    """A load's watermark, after settling it when asked to.

    Args:
        set: A new watermark: everything at or below it counts as loaded.
        adopt: Take the highest value in the target's data.

    Returns:
        Its exact text; None when there is none.
    """
    from hwm_magics.jobs.marks import settle

    if adopt and set is not None:
        raise ConfigError("set and adopt contradict each other", hint="give one of them")
    request = _Request(what, connections=connections, params=params, node=node)
    spec, workspace = request.only(), request.context.workspace
    if adopt or set is not None:
        found = settle(workspace, spec, None if adopt else str(set)).watermark
    else:
        found = workspace.status(spec).watermark
    return None if found is None else str(found)


@_guarded
def rollback(
    what: What,
    *,
    to: int | None = None,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | None = None,
) -> Rollback:
    """Plan to restore a load's target to an earlier version; ``.run()`` does it, ``.text`` shows it.

    Args:
        to: The version; by default the one before the load's last commit that holds.

    Raises:
        ConfigError: There is no such version.
        PlanError: There is nothing to roll back.
    """
    from hwm_magics.jobs.upkeep import plan_rollback

    request = _Request(what, connections=connections, params=params, node=node)
    return plan_rollback(request.context.workspace, request.only(), to)


@_guarded
def maintain(
    what: What,
    *,
    compact: bool | None = None,
    order: bool = False,
    vacuum: bool = False,
    older: timedelta = timedelta(days=7),
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | None = None,
) -> Maintenance:
    """Plan the care of a target's files; ``.run()`` does it, ``.text`` shows it.

    Args:
        compact: Whether small files are written together; None for when there are many.
        order: Write all files anew, ordered by ``write.options.cluster_by``.
        vacuum: Remove files that no younger version needs.
        older: How young a version must be to keep its files.

    Raises:
        PlanError: There is no table.
        CommitError: The vacuum is refused: the table keeps its files for longer.
    """
    from hwm_magics.jobs.upkeep import plan_maintenance

    request = _Request(what, connections=connections, params=params, node=node)
    return plan_maintenance(
        request.context.workspace, request.only(), compact=compact, order=order, vacuum=vacuum, older=older
    )


@_guarded
def reconcile(
    what: What,
    *,
    by_keys: bool = False,
    connections: Mapping[str, object] | None = None,
    params: Mapping[str, Scalar] | None = None,
    node: str | None = None,
) -> Reconciliation:
    """Compare a load's target with its source, up to the watermark; ``.agrees`` and ``.text`` tell.

    Args:
        by_keys: Compare keys everywhere, and not only where counts differ.

    Raises:
        PlanError: The load can't be compared.
        EngineError: Source or target can't be read.
    """
    from hwm_magics.jobs.reconcile import reconcile as compare

    request = _Request(what, connections=connections, params=params, node=node)
    return compare(request.context.workspace, request.only(), by_keys=by_keys)


@_guarded
def table_exists(
    connection: str,
    table: str | None = None,
    path: str | None = None,
    *,
    connections: Mapping[str, object] | None = None,
) -> bool:
    """Whether a Delta table is there.

    Args:
        connection: The connection's name.
        table: A registered name; or
        path: a folder below the connection's root.
        connections: Connections by name beside those of hwm.yaml.

    Raises:
        TargetUnknownError: It can't be told.
    """
    return LoadContext(connections=connections).table_exists(connection, table=table, path=path)
