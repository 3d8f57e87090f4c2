"""Which file the running notebook is, where its front end tells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from hwm_magics.errors import ConfigError

__all__ = ["find_notebook", "named_by_jupyter"]

_VS_CODE = "__vsc_ipynb_file__"
_JUPYTER = "JPY_SESSION_NAME"


def named_by_jupyter(environ: Mapping[str, str] | None = None) -> Path:
    """The notebook that Jupyter's server tells its kernel of; an empty path where it tells of none."""
    return Path((os.environ if environ is None else environ).get(_JUPYTER, ""))


def find_notebook(names: Mapping[str, object], environ: Mapping[str, str] | None = None) -> Path:
    """The notebook that runs.

    Args:
        names: The notebook's variables: VS Code puts the path there.
        environ: The environment: Jupyter's server puts it there.

    Raises:
        ConfigError: The front end does not tell.
    """
    told = names.get(_VS_CODE)
    path = Path(str(told)) if told else named_by_jupyter(environ)
    if path.suffix.lower() != ".ipynb" or not path.is_file():
        raise ConfigError(
            "this front end does not tell which notebook this is",
            hint="name it: %hwm_export orders.ipynb --to py",
        )
    return path
