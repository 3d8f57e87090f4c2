"""Whether a cell asks, runs, or only shows: one pure function of its surroundings, with the reason."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from hwm_magics.connections.words import did_you_mean
from hwm_magics.errors import BlockedError, ConfigError

__all__ = ["Asking", "Choice", "Mode", "Surroundings", "choose"]

VARIABLE = "HWM_MAGICS_MODE"


class Mode(StrEnum):
    """What a cell does with its plan."""

    ASK = "ask"
    RUN = "run"
    PLAN = "plan"
    DRY_RUN = "dry-run"


class Asking(StrEnum):
    """How a person can be asked."""

    BUTTONS = "buttons"
    PROMPT = "prompt"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the choice rests on.

    Attributes:
        flags: The mode flags on the magic's line, without dashes.
        environment: ``HWM_MAGICS_MODE``; "" when not set.
        config: ``%config HwmMagics.mode``; "" when not set.
        project: The mode that ``hwm.yaml`` names; "" for none.
        kernel: Whether a Jupyter kernel runs the cell, as against IPython in a terminal.
        allow_stdin: Whether the front end lets the kernel ask for input; None when it does not say.
        terminal: Whether the standard input is a terminal.
    """

    flags: tuple[str, ...] = ()
    environment: str = ""
    config: str = ""
    project: str = ""
    kernel: bool = False
    allow_stdin: bool | None = None
    terminal: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The mode, and how it came about.

    Attributes:
        mode: The mode.
        why: The reason, for the first line that the cell prints.
        asking: How to ask; None when nobody can be asked, or when there is nothing to ask.
    """

    mode: Mode
    why: str
    asking: Asking | None = None

    @property
    def line(self) -> str:
        """The first line of a cell's output."""
        return f"Mode: {self.mode} ({self.why})"

    def require_somebody(self) -> None:
        """See that there is somebody to ask.

        Raises:
            BlockedError: There is nobody.
        """
        if self.mode is Mode.ASK and self.asking is None:
            raise BlockedError(
                "nothing was loaded: this cell asks before it loads, and nobody can be asked here",
                hint=f"to load without being asked: %%hwm_load --run, or the environment variable {VARIABLE}=run",
            )


def choose(around: Surroundings) -> Choice:
    """Choose a cell's mode.

    A flag wins over the environment, that over ``%config``, that over ``hwm.yaml``, and all of
    them over a guess from the front end.

    Args:
        around: What the choice rests on.

    Raises:
        ConfigError: Two flags contradict each other, or a setting names no mode.
    """
    if len(around.flags) > 1:
        told = " and ".join(f"--{flag}" for flag in around.flags)
        raise ConfigError(f"{told} contradict each other", hint="give one of them")
    flag = next(iter(around.flags), "")
    for value, told in (
        (flag, f"--{flag}"),
        (around.environment, f"{VARIABLE}={around.environment}"),
        (around.config, f"%config HwmMagics.mode = {around.config!r}"),
        (around.project, f"hwm.yaml says mode: {around.project}"),
    ):
        mode = _named(value, told)
        if mode is not None:
            return Choice(mode, told, _asking(around) if mode is Mode.ASK else None)
    return _guess(around)


def _named(value: str, where: str) -> Mode | None:
    word = value.strip().lower().replace("_", "-")
    if word in ("", "auto"):
        return None
    known: Iterable[str] = [*(str(each) for each in Mode), "auto"]
    if word not in known:
        raise ConfigError(
            f"{where}: {value!r} is no mode{did_you_mean(word, known)}", hint=f"one of {', '.join(known)}"
        )
    return Mode(word)


def _asking(around: Surroundings) -> Asking | None:
    if around.kernel:
        return Asking.BUTTONS if around.allow_stdin is not False else None
    return Asking.PROMPT if around.terminal else None


def _guess(around: Surroundings) -> Choice:
    if around.kernel and around.allow_stdin is False:
        return Choice(Mode.RUN, "headless: this front end takes no input (allow_stdin is false)")
    if around.kernel:
        return Choice(Mode.ASK, "a person seems to be here; --run loads without asking", Asking.BUTTONS)
    if around.terminal:
        return Choice(Mode.ASK, "a terminal; --run loads without asking", Asking.PROMPT)
    return Choice(Mode.ASK, "IPython without a kernel and without a terminal")
