"""Fakes and notebooks: loads that a test steps through, a screen that keeps what it is shown, real kernels."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from fakes.shop import Project

from hwm_magics.core.cursor import CursorKind, CursorType
from hwm_magics.core.decided import AppendRows, Blocker, Commit, Decision, LoadPlan, LoadResult, Window
from hwm_magics.core.observed import Column, CommitRecord, Existence, SourceState, TargetState, Watermark
from hwm_magics.core.plan import moves
from hwm_magics.core.specs import LoadSpec, ReadSpec, WriteSpec
from hwm_magics.engines.base import Progress
from hwm_magics.errors import BlockedError, LoadCancelled, StalePlanError
from hwm_magics.jobs.load_job import LoadJob
from hwm_magics.jobs.load_jobs import LoadJobs

PATIENCE = 20
TIME = CursorType(CursorKind.TIMESTAMP, 6, "timestamp")


def make_spec(node="orders", **changes) -> LoadSpec:
    spec = LoadSpec(node, ReadSpec("shop", table="dbo.orders"), WriteSpec("lake", path=f"raw/{node}"))
    return replace(spec, **changes)


def make_plan(spec: LoadSpec, decision: Decision = Decision.INCREMENTAL, **changes) -> LoadPlan:
    low = Watermark("updated_at", TIME.value("2024-06-01"))
    high = Watermark("updated_at", TIME.value("2024-06-02 09:14:03.201"))
    steps = (AppendRows(), Commit(2, high))
    blocker = None
    if decision is Decision.BLOCKED:
        steps, blocker = (), Blocker("the target is no Delta table", "choose another path")
    if decision is Decision.NO_CHANGES:
        steps = ()
    plan = LoadPlan(
        spec,
        TargetState(Existence.EXISTS, "its log is at version 17", location="/lake/raw/orders", version=17),
        SourceState(columns=(Column("id", "long"),), count=1500),
        decision,
        blocker.message if blocker else "the target holds a load of ours",
        steps,
        Window(low.value, high.value),
        low,
        high,
        blocker=blocker,
        hash="a",
    )
    return replace(plan, **changes)


class FakeLoader:
    """Plans and loads as told; a load waits at its gate when it has one."""

    def __init__(self) -> None:
        self.decisions: dict[str, Decision] = {}
        self.failures: dict[str, BaseException] = {}
        self.plan_failures: dict[str, BaseException] = {}
        self.plan_changes: dict = {}
        self.version = 17
        self.gate: threading.Event | None = None
        self.entered = threading.Event()
        self.loads: list[tuple[str, bool]] = []
        self.approvals: list[LoadPlan | None] = []
        self.progress: list[Progress] = []
        self.committed = False
        self.records: tuple[CommitRecord, ...] = ()
        self.counts = 0
        self.counted: int | BaseException = 1500
        self.rows = pa.table({"id": [1, 2, 3], "name": ["a", None, "c"]})

    def plan(self, spec):
        if spec.node in self.plan_failures:
            raise self.plan_failures[spec.node]
        plan = make_plan(spec, self.decisions.get(spec.node, Decision.INCREMENTAL), **self.plan_changes)
        return replace(plan, target=replace(plan.target, version=self.version))

    def load(self, spec, *, approved=None, dry_run=False, cancelled=None, on_progress=None, on_plan=None):
        self.loads.append((spec.node, dry_run))
        self.approvals.append(approved)
        plan = self.plan(spec)
        if approved is not None and approved.target.version != plan.target.version:
            raise StalePlanError(
                f"the target was at version {approved.target.version}",
                moves(approved, plan),
                hint="plan again",
            )
        on_plan(plan)
        if plan.blocker is not None:
            raise BlockedError(plan.blocker.message, hint=plan.blocker.hint)
        for each in self.progress:
            on_progress(each)
        self.entered.set()
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        if cancelled.is_set() and not self.committed:
            raise LoadCancelled("the load was cancelled; nothing was written")
        if spec.node in self.failures:
            raise self.failures[spec.node]
        return LoadResult(
            spec.node,
            plan.decision,
            "dry_run" if dry_run else "loaded",
            run_id="run-1",
            rows_read=1500,
            rows_written=0 if dry_run else 1480,
            rows_recognised=20,
            version_before=17,
            version_after=17 if dry_run else 18,
            watermark_before=plan.before,
            watermark_after=plan.after,
            seconds=0.5,
        )

    def history(self, spec, limit=20):
        return self.records[:limit]

    def recent(self, plan, limit):
        return self.records[:limit]

    def count(self, plan):
        self.counts += 1
        if self.gate is not None:
            assert self.gate.wait(PATIENCE)
        if isinstance(self.counted, BaseException):
            raise self.counted
        return self.counted

    def sample(self, plan, limit):
        return self.rows.slice(0, limit)


class Screen:
    """Keeps what is shown: new outputs in order, replaced ones in their place."""

    def __init__(self) -> None:
        self.outputs: list[dict] = []
        self.updates = 0
        self.events: list[str] = []
        self._places: dict[str, int] = {}

    def __call__(self, data, *, display_id=None, update=False):
        if update:
            self.updates += 1
            self.events.append("update")
            self.outputs[self._places[display_id]] = dict(data)
            return
        self.events.append("show")
        if display_id is not None:
            self._places[display_id] = len(self.outputs)
        self.outputs.append(dict(data))

    @property
    def html(self) -> str:
        return "\n".join(each.get("text/html", "") for each in self.outputs)

    @property
    def text(self) -> str:
        return "\n".join(each.get("text/plain", "") for each in self.outputs)


@pytest.fixture
def loader() -> FakeLoader:
    return FakeLoader()


@pytest.fixture
def screen() -> Screen:
    return Screen()


@pytest.fixture
def spec():
    return make_spec


@pytest.fixture
def job(loader):
    """A job of its own: `job()`, or with the options of LoadJob."""

    def make(node="orders", *, prepared=True, spec=None, **options) -> LoadJob:
        made = LoadJob(loader, spec or make_spec(node), **options)
        if prepared:
            made.prepare()
        return made

    return make


@pytest.fixture
def jobs(loader):
    """Several jobs: `jobs({"b": ["a"], "a": []})` by their dependencies."""

    def make(needs, *, prepared=True, background=False, max_parallel=1, **changes) -> LoadJobs:
        specs = [make_spec(name, depends_on=tuple(after), **changes) for name, after in needs.items()]
        made = LoadJobs(
            [LoadJob(loader, each, background=background, strict=True) for each in specs],
            background=background,
            max_parallel=max_parallel,
        )
        if prepared:
            made.prepare()
        return made

    return make


@pytest.fixture
def project(tmp_path, monkeypatch) -> Project:
    """A project whose folder is the current one."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HWM_MAGICS_MODE", raising=False)
    monkeypatch.delenv("HWM_MAGICS_CONFIG", raising=False)
    # For kernels: they find the package, installed or not.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    return Project(tmp_path)


class FakeKernel:
    """What a shell's kernel tells of the front end."""

    def __init__(self, *, allow_stdin: bool) -> None:
        self.allow_stdin = allow_stdin

    def get_parent(self, _channel):
        return {"content": {"allow_stdin": self.allow_stdin}}


class Cell:
    """What running one cell came to."""

    def __init__(self, outcome, captured) -> None:
        self.error = outcome.error_before_exec or outcome.error_in_exec
        self.value = outcome.result
        self.printed = captured.stdout
        self.shown = [each.data for each in captured.outputs]

    @property
    def everything(self) -> str:
        """All that left the cell, as one text."""
        lines = (
            self.error._render_traceback_()
            if hasattr(self.error, "_render_traceback_")
            else [str(self.error)]
        )
        return "\n".join([self.printed, *lines, *(str(each) for each in self.shown)])


class Shell:
    """A real IPython shell with the extension loaded."""

    def __init__(self, shell) -> None:
        self.shell = shell

    def __call__(self, source: str) -> Cell:
        from IPython.utils.capture import capture_output

        with capture_output() as captured:
            outcome = self.shell.run_cell(source, store_history=False)
        return Cell(outcome, captured)

    @property
    def names(self) -> dict:
        return self.shell.user_ns

    def front(self, *, allow_stdin: bool | None) -> None:
        """Put a kernel behind it whose front end takes input, or none; None takes the kernel away."""
        self.shell.kernel = None if allow_stdin is None else FakeKernel(allow_stdin=allow_stdin)


@pytest.fixture
def bare_shell(tmp_path):
    """A real IPython shell."""
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    config = Config()
    config.HistoryManager.enabled = False
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=config, ipython_dir=str(tmp_path / "ipython"))
    yield Shell(shell)
    InteractiveShell.clear_instance()


@pytest.fixture
def shell(bare_shell):
    """A real IPython shell with the extension loaded, and a headless front end."""
    bare_shell.shell.run_line_magic("load_ext", "hwm_magics")
    bare_shell.front(allow_stdin=False)
    return bare_shell
