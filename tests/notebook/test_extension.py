"""Loading the extension is quick and imports nothing heavy; unloading leaves nothing behind."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import hwm_magics

HEAVY = [
    "pandas",
    "pyarrow",
    "deltalake",
    "pyspark",
    "pydantic",
    "sqlglot",
    "ipywidgets",
    "matplotlib",
    "sqlalchemy",
    "yaml",
]
MAGICS = [
    "hwm_backfill",
    "hwm_connections",
    "hwm_debug",
    "hwm_doctor",
    "hwm_example",
    "hwm_export",
    "hwm_history",
    "hwm_load",
    "hwm_maintain",
    "hwm_plan",
    "hwm_reconcile",
    "hwm_rollback",
    "hwm_status",
    "hwm_watermark",
]


def python(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout


def test_importing_and_loading_the_extension_imports_nothing_heavy():
    code = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell()\n"
        "import hwm_magics; hwm_magics.load_ipython_extension(shell); shell.run_cell('x = 1')\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    assert python(code).strip() == "[]"


def test_importing_and_loading_the_extension_is_quick():
    code = (
        "from IPython.core.interactiveshell import InteractiveShell; import time; shell = InteractiveShell()\n"
        "start = time.process_time(); import hwm_magics; hwm_magics.load_ipython_extension(shell)\n"
        "print(time.process_time() - start)\n"
    )
    # The best of three: another process on the machine must not fail it.
    assert min(float(python(code)) for _ in range(3)) < 0.3


def test_the_command_line_imports_nothing_heavy_for_its_help():
    code = (
        "import sys; sys.argv = ['hwm', 'run', '--help']\n"
        "import hwm_magics.cli\n"
        "try: hwm_magics.cli.main()\n"
        "except SystemExit: pass\n"
        f"print([m for m in {[*HEAVY, 'rich', 'IPython']!r} if m in sys.modules])\n"
    )
    assert python(code).splitlines()[-1] == "[]"


def test_the_public_names_are_there_and_nothing_else_is():
    for name in hwm_magics.__all__:
        assert getattr(hwm_magics, name) is not None
    assert dir(hwm_magics) == sorted(hwm_magics.__all__)
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        hwm_magics.lod  # noqa: B018


def test_the_version_is_the_packages():
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())
    assert hwm_magics.__version__ == project["project"]["version"]


def registered(shell) -> list[str]:
    found = {name for kind in ("line", "cell") for name in shell.magics_manager.magics[kind]}
    return sorted(name for name in found if name.startswith("hwm_"))


def test_unloading_takes_magics_and_configuration_away(bare_shell):
    shell = bare_shell.shell
    cleanup = list(shell.input_transformers_cleanup)
    matchers = list(shell.Completer.custom_matchers)
    bare_shell("%load_ext hwm_magics")
    assert registered(shell) == MAGICS
    assert bare_shell("%config HwmMagics.mode = 'plan'").error is None
    bare_shell("%unload_ext hwm_magics")
    assert registered(shell) == []
    assert shell.input_transformers_cleanup == cleanup
    assert shell.Completer.custom_matchers == matchers
    assert not [each for each in shell.configurables if type(each).__name__ == "HwmMagics"]
    assert "HwmMagics" not in bare_shell("%config").printed


def test_loading_twice_and_reloading_are_the_same_as_loading_once(bare_shell):
    shell = bare_shell.shell
    bare_shell("%load_ext hwm_magics")
    bare_shell("%load_ext hwm_magics")
    bare_shell("%reload_ext hwm_magics")
    hwm_magics.load_ipython_extension(shell)
    assert registered(shell) == MAGICS
    assert sum(type(each).__name__ == "HwmMagics" for each in shell.configurables) == 1
    assert len(shell.Completer.custom_matchers) == 1
    assert (
        sum(getattr(each, "__name__", "") == "keep_bodies" for each in shell.input_transformers_cleanup) == 1
    )


def test_every_magic_documents_its_options(bare_shell):
    bare_shell("%load_ext hwm_magics")
    for name in MAGICS:
        magic = bare_shell.shell.find_line_magic(name) or bare_shell.shell.find_cell_magic(name)
        for action in magic.parser._actions:
            assert action.help, (name, action)
        assert all(
            option in magic.__doc__ for action in magic.parser._actions for option in action.option_strings
        )
