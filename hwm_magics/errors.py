"""Every error the project raises, in one tree, each class with the exit code a job ends with.

::

    HwmError
    ├ ConfigError                2    what was asked for can't be understood
    ├ PlanError                  3    it is understood, and must not be done
    │ ├ BlockedError                  the plan is BLOCKED
    │ ├ StalePlanError                the target moved after the plan was shown
    │ ├ CursorColumnError             the cursor column can't serve as one
    │ ├ SchemaMismatchError           source and target columns don't fit
    │ └ WatermarkAheadError           the watermark lies above all that the source has
    ├ EngineError                4    a part outside refused or failed
    │ ├ EngineNotInstalledError       an extra is missing
    │ ├ UnsupportedByEngineError      this engine can't do that
    │ ├ TargetUnknownError            whether the target exists can't be told
    │ ├ TargetReadError               the target is there and can't be read
    │ └ SourceError                   the source failed
    │   ├ SourceConnectionError           it can't be reached
    │   ├ LoginError                      it refused the credentials
    │   ├ QueryError                      it refused the query
    │   ├ IncompleteReadError             it sent fewer rows than it has
    │   └ SourceChangedError              a file changed while it was read
    ├ CommitError                5    the commit failed; nothing was written
    │ ├ CommitConflictError           another load committed first
    │ └ CommitOutcomeUnknownError     it can't be told whether the commit landed
    └ LoadCancelled              130  somebody cancelled; nothing was written
"""

from __future__ import annotations

import re
from dataclasses import dataclass

__all__ = [
    "BlockedError",
    "CommitConflictError",
    "CommitError",
    "CommitOutcomeUnknownError",
    "ConfigError",
    "CursorColumnError",
    "EngineError",
    "EngineNotInstalledError",
    "HwmError",
    "IncompleteReadError",
    "LoadCancelled",
    "LoginError",
    "PlanError",
    "Problem",
    "QueryError",
    "SchemaMismatchError",
    "SourceChangedError",
    "SourceConnectionError",
    "SourceError",
    "StalePlanError",
    "TargetReadError",
    "TargetUnknownError",
    "UnsupportedByEngineError",
    "WatermarkAheadError",
    "clean_message",
    "named",
]

_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_BACKTRACE = re.compile(
    r"\n\s*(?:Backtrace|stack backtrace|note: run with|0: (?:<unknown>|\S+::)).*", re.DOTALL | re.IGNORECASE
)


def clean_message(text: object, limit: int = 600) -> str:
    """Make a library's message fit to show.

    Args:
        text: An exception or its message; libraries put ANSI colours, Rust back-traces and whole
            SQL texts into theirs.
        limit: The longest result, in characters.

    Returns:
        The message on its own, without colours or back-trace, cut at ``limit``.
    """
    cleaned = _BACKTRACE.sub("", _ANSI.sub("", str(text))).strip()
    cleaned = "\n".join(line.rstrip() for line in cleaned.splitlines() if line.strip())
    return cleaned if len(cleaned) <= limit else cleaned[: limit - 1].rstrip() + "…"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong in a YAML text.

    Attributes:
        message: What is wrong, the value seen, and what to write instead.
        path: Where, as a YAML path (``nodes[0].write.mode``); empty for the text as a whole.
        line: 1-based line in what the user wrote (for a cell, the line in the cell, where the
            magic's own line is 1); None where there is none.
        excerpt: The text of that line.
    """

    message: str
    path: str = ""
    line: int | None = None
    excerpt: str = ""

    def __str__(self) -> str:
        where = f"line {self.line}: " if self.line is not None else ""
        path = f"{self.path}: " if self.path else ""
        tail = f"\n      {self.excerpt.strip()}" if self.excerpt.strip() else ""
        return f"{where}{path}{self.message}{tail}"


class HwmError(Exception):
    """The root of the project's errors.

    Args:
        message: What failed and the value seen.
        hint: What to do about it.

    Attributes:
        committed: Of a first load in chunks: what those that were committed before came to
            (:class:`~hwm_magics.core.decided.LoadResult`); None otherwise.

    In IPython it is shown as a few clean lines, and the cell still fails;
    ``%hwm_debug`` shows the chained traceback.
    """

    exit_code = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.committed: object = None

    def __str__(self) -> str:
        return f"{self.message}\n  → {self.hint}" if self.hint else self.message

    def lines(self) -> list[str]:
        """The error as a person reads it: its class, what failed, what to do.

        Returns:
            Lines of plain text, without line ends.
        """
        return f"{type(self).__name__}: {self}".splitlines()

    def _render_traceback_(self) -> list[str]:
        return self.lines()


class ConfigError(HwmError):
    """The YAML, the options or ``hwm.yaml`` can't be understood.

    Args:
        message: A one-line summary, or the whole message when there are no problems to list.
        problems: Everything that is wrong, in the order of the text.
        hint: What to do.
    """

    exit_code = 2

    def __init__(self, message: str, problems: tuple[Problem, ...] = (), *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.problems = problems

    def __str__(self) -> str:
        rows = "".join(f"\n  · {problem}" for problem in self.problems)
        tail = f"\n  → {self.hint}" if self.hint else ""
        return f"{self.message}{rows}{tail}"


class PlanError(HwmError):
    """The request is understood and must not be carried out."""

    exit_code = 3


class BlockedError(PlanError):
    """The plan is BLOCKED; its message says by what."""


class StalePlanError(PlanError):
    """The target, its watermark or the configuration changed after the plan was made.

    Args:
        message: What changed.
        moves: The same as data: what it is, how it stood when the plan was made, and how it stands now.
        hint: What to do.
    """

    def __init__(
        self, message: str, moves: tuple[tuple[str, str, str], ...] = (), *, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.moves = moves


class CursorColumnError(PlanError):
    """The column can't serve as a cursor: its type or its values don't order rows by newness."""


class SchemaMismatchError(PlanError):
    """The source's columns don't fit the target's without loss."""


class WatermarkAheadError(PlanError):
    """The watermark lies above everything that the source has."""


class EngineError(HwmError):
    """Something outside the project failed or refused."""

    exit_code = 4


class EngineNotInstalledError(EngineError):
    """A package is missing; the hint holds the ``pip install`` line."""


class UnsupportedByEngineError(EngineError):
    """This engine can't do what was asked; the message names one that can, if any."""


class TargetUnknownError(EngineError):
    """Whether the target exists can't be told: an error is not an absence."""


class TargetReadError(EngineError):
    """The target exists and reading it failed."""


class SourceError(EngineError):
    """The source failed."""


class SourceConnectionError(SourceError):
    """The source can't be reached."""


class LoginError(SourceError):
    """The source refused the credentials."""


class QueryError(SourceError):
    """The source refused the query, or a table or column is not there."""


class IncompleteReadError(SourceError):
    """The source's stream ended before its last row."""


class SourceChangedError(SourceError):
    """A file changed between being listed and being read; the load looks again and starts anew."""


class CommitError(HwmError):
    """The commit failed and the target is as it was."""

    exit_code = 5


class CommitConflictError(CommitError):
    """Another load of the same node committed after this one had looked."""


class CommitOutcomeUnknownError(CommitError):
    """The commit gave no answer and the log can't be read to look for it.

    Args:
        message: What failed.
        run_id: The attempt, by which its commit can be found once the log answers.
        hint: What to do.
    """

    def __init__(self, message: str, run_id: str = "", *, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.run_id = run_id


class LoadCancelled(HwmError):  # noqa: N818 - the design's word; a cancel is an outcome, not a fault
    """The load was cancelled before its commit; nothing was written."""

    exit_code = 130


def named(name: str) -> type[HwmError]:
    """The error class of that name, as a plan's blocker holds it; :class:`BlockedError` where there is none."""
    found = globals().get(name)
    return found if isinstance(found, type) and issubclass(found, HwmError) else BlockedError
