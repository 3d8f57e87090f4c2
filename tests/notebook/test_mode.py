"""Which mode a cell is in, and why: a flag, then the environment, %config, hwm.yaml, and a guess at last."""

from __future__ import annotations

from itertools import product

import pytest

from hwm_magics.errors import BlockedError, ConfigError
from hwm_magics.notebook.mode import Asking, Mode, Surroundings, choose

SETTINGS = ["flag", "environment", "config", "project"]
WHYS = {
    "flag": "--run",
    "environment": "HWM_MAGICS_MODE=run",
    "config": "%config HwmMagics.mode = 'run'",
    "project": "hwm.yaml says mode: run",
}


def around(**given):
    flags = given.pop("flag", None)
    return Surroundings(flags=(flags,) if flags else (), kernel=True, allow_stdin=True, **given)


@pytest.mark.parametrize("winner", range(4), ids=SETTINGS)
def test_the_first_setting_that_says_something_wins_and_is_named(winner):
    given = dict.fromkeys(SETTINGS[winner + 1 :], "plan") | {SETTINGS[winner]: "run"}
    choice = choose(around(**given))
    assert choice.mode is Mode.RUN
    assert choice.line == f"Mode: run ({WHYS[SETTINGS[winner]]})"


@pytest.mark.parametrize("which", list(product([True, False], repeat=4)), ids=str)
def test_every_combination_of_settings_obeys_the_precedence(which):
    values = ["run", "plan", "dry-run", "ask"]
    given = {name: value for name, value, on in zip(SETTINGS, values, which, strict=True) if on}
    choice = choose(around(**given))
    assert choice.mode == next(iter(given.values()), "ask")


@pytest.mark.parametrize(
    ("kernel", "allow_stdin", "terminal", "mode", "asking", "why"),
    [
        (True, True, False, Mode.ASK, Asking.BUTTONS, "a person seems to be here"),
        (True, None, False, Mode.ASK, Asking.BUTTONS, "a person seems to be here"),
        (True, False, False, Mode.RUN, None, "headless"),
        (True, False, True, Mode.RUN, None, "allow_stdin is false"),
        (False, None, True, Mode.ASK, Asking.PROMPT, "a terminal"),
        (False, None, False, Mode.ASK, None, "without a terminal"),
    ],
)
def test_without_a_setting_the_front_end_decides(kernel, allow_stdin, terminal, mode, asking, why):
    choice = choose(Surroundings(kernel=kernel, allow_stdin=allow_stdin, terminal=terminal))
    assert (choice.mode, choice.asking) == (mode, asking)
    assert why in choice.why


@pytest.mark.parametrize(
    ("kernel", "allow_stdin", "terminal", "asking"),
    [
        (True, True, False, Asking.BUTTONS),
        (True, False, False, None),
        (False, None, True, Asking.PROMPT),
        (False, None, False, None),
    ],
)
@pytest.mark.parametrize("setting", SETTINGS)
def test_ask_asks_where_somebody_can_be_asked(setting, kernel, allow_stdin, terminal, asking):
    given = {"flags": ("ask",)} if setting == "flag" else {setting: "ask"}
    choice = choose(Surroundings(kernel=kernel, allow_stdin=allow_stdin, terminal=terminal, **given))
    assert choice.asking is asking
    if asking is None:
        with pytest.raises(BlockedError, match="nobody can be asked here"):
            choice.require_somebody()
    else:
        choice.require_somebody()


@pytest.mark.parametrize("mode", [Mode.RUN, Mode.PLAN, Mode.DRY_RUN])
def test_nobody_needs_to_be_there_where_nothing_is_asked(mode):
    choose(Surroundings(flags=(mode,), kernel=True, allow_stdin=False)).require_somebody()


@pytest.mark.parametrize("word", ["auto", "", " AUTO "])
def test_auto_leaves_the_choice_to_what_comes_after_it(word):
    assert choose(around(environment=word, config="plan")).mode is Mode.PLAN


@pytest.mark.parametrize("word", ["DRY_RUN", "dry-run", " dry_run "])
def test_a_mode_may_be_spelled_with_underscores_and_capitals(word):
    assert choose(around(environment=word)).mode is Mode.DRY_RUN


def test_an_unknown_mode_is_refused_with_its_place_and_a_near_miss():
    with pytest.raises(ConfigError, match=r"HWM_MAGICS_MODE=rum: 'rum' is no mode: did you mean 'run'\?"):
        choose(around(environment="rum"))


def test_two_flags_contradict_each_other():
    with pytest.raises(ConfigError, match="--plan and --run contradict"):
        choose(Surroundings(flags=("plan", "run")))
