"""Plans that were approved in a review, as a file: a job does these and nothing else."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hwm_magics.core.decided import Decision
from hwm_magics.errors import ConfigError, StalePlanError
from hwm_magics.jobs.states import LoaderAround

if TYPE_CHECKING:
    from hwm_magics.core.decided import LoadPlan, LoadResult
    from hwm_magics.core.specs import LoadSpec
    from hwm_magics.engines.base import Progress
    from hwm_magics.jobs.states import Loader

__all__ = ["Approval", "Approved", "approvals_to_json", "read_approvals", "settings_hash"]

FORMAT = 1


@dataclass(frozen=True, slots=True)
class Approval:
    """What was approved of one load: the kind of its plan, not its window.

    Attributes:
        node: The load.
        decision: What may be done. Doing nothing always may, and a first load in chunks may go on.
        settings: The hash of the settings that it was planned with; see :func:`settings_hash`.
        sentence: The plan's sentence, for messages.
    """

    node: str
    decision: Decision
    settings: str
    sentence: str

    def check(self, plan: LoadPlan) -> None:
        """Refuse a plan that is not what was approved.

        Raises:
            StalePlanError: The decision is another, or the settings have changed.
        """
        if plan.decision in (Decision.NO_CHANGES, Decision.BLOCKED):
            return
        told = ""
        resumes = plan.decision is Decision.RESUME and self.decision is Decision.FIRST_RUN
        if plan.decision is not self.decision and not resumes:
            told = (
                f"approved was {self.decision} ({self.sentence}), and this is {plan.decision}: {plan.reason}"
            )
        elif settings_hash(plan.spec) != self.settings:
            told = "its settings have changed since"
        if told:
            raise StalePlanError(
                f"{self.node} is not what was approved: {told}; nothing was written",
                hint="look at the plan and approve it anew: hwm plan FILE --out plan.json",
            )


def settings_hash(spec: LoadSpec) -> str:
    """What a load was asked to do, without the values of its parameters and where it stood in its file.

    Returns:
        16 hexadecimal digits, the same on every machine.
    """
    kept = asdict(spec)
    for name in ("params", "line"):
        kept["read"].pop(name)
    return hashlib.sha256(json.dumps(kept, sort_keys=True, default=str).encode()).hexdigest()[:16]


def approvals_to_json(plans: Iterable[LoadPlan]) -> dict[str, object]:
    """What ``hwm plan --out`` writes."""
    from hwm_magics.jobs.report import plan_to_json

    nodes = [
        {"node": plan.spec.node, "decision": plan.decision.value, "settings": settings_hash(plan.spec)}
        | {"plan": plan_to_json(plan)}
        for plan in plans
    ]
    return {"hwm_magics_plan": FORMAT, "nodes": nodes}


def read_approvals(file: Path) -> dict[str, Approval]:
    """Read what ``hwm plan --out`` wrote.

    Returns:
        The approvals by node.

    Raises:
        ConfigError: The file can't be read, or is none of these.
    """
    hint = "make it with: hwm plan FILE --out plan.json"
    try:
        told: Any = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file} can't be read: {error.strerror}", hint=hint) from error
    except ValueError as error:
        raise ConfigError(f"{file} holds no JSON: {error}", hint=hint) from error
    if not isinstance(told, dict) or told.get("hwm_magics_plan") != FORMAT:
        raise ConfigError(f"{file} is no plan of this version of hwm_magics", hint=hint)
    try:
        found = [
            Approval(
                str(each["node"]),
                Decision(each["decision"]),
                str(each["settings"]),
                str(each["plan"]["sentence"]),
            )
            for each in told["nodes"]
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{file} is damaged: {error!r}", hint=hint) from error
    return {each.node: each for each in found}


class Approved(LoaderAround):
    """A loader that carries out what was approved, and refuses anything else before it reads a row.

    Args:
        loader: Who plans and loads.
        approvals: By node.
    """

    def __init__(self, loader: Loader, approvals: Mapping[str, Approval]) -> None:
        super().__init__(loader)
        self._approvals = approvals

    def plan(self, spec: LoadSpec) -> LoadPlan:
        """Plan; see :meth:`hwm_magics.app.Workspace.plan`. What was not approved is refused here already."""
        plan = self._loader.plan(spec)
        self._check(plan)
        return plan

    def load(
        self,
        spec: LoadSpec,
        *,
        approved: LoadPlan | None = None,
        dry_run: bool = False,
        cancelled: threading.Event | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        on_plan: Callable[[LoadPlan], None] | None = None,
    ) -> LoadResult:
        """Load; see :meth:`hwm_magics.app.Workspace.load`."""

        def planned(plan: LoadPlan) -> None:
            self._check(plan)
            if on_plan is not None:
                on_plan(plan)

        return self._loader.load(
            spec,
            approved=approved,
            dry_run=dry_run,
            cancelled=cancelled,
            on_progress=on_progress,
            on_plan=planned,
        )

    def _check(self, plan: LoadPlan) -> None:
        approval = self._approvals.get(plan.spec.node)
        if approval is None:
            raise StalePlanError(
                f"{plan.spec.node} is not among the plans that were approved ({', '.join(self._approvals) or 'none'})",
                hint="look at the plan and approve it anew: hwm plan FILE --out plan.json",
            )
        approval.check(plan)
