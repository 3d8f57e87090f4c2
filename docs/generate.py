"""Writes docs/reference.md from the code: the YAML's keys, the magics, the commands, the errors.

``--check`` writes nothing and exits 1 when the page is not what the code says.
"""

from __future__ import annotations

import inspect
import os
import re
import sys
import types
import typing
from enum import StrEnum
from pathlib import Path

import click
from pydantic import BaseModel

from hwm_magics import api, errors
from hwm_magics.cli import cli as command
from hwm_magics.config import connection_models, models
from hwm_magics.notebook.magics import HwmMagics
from hwm_magics.notebook.target_magics import TargetMagics

PAGE = Path(__file__).with_name("reference.md")


def page() -> str:
    """The whole page."""
    parts = [
        "# Reference",
        "This page is made from the code by `make docs`.",
        "## YAML",
        "A cell holds one node, a list of nodes, or `pipeline:` with `nodes:`.",
        "Values may hold `${name}`, `${env:NAME}` and `${secret:scope/key}`.",
        *_model("A node", models.NodeModel),
        *_model("read", models.ReadModel),
        *_model("read.incremental", models.IncrementalModel),
        *_model("write", models.WriteModel),
        *_model("write.options", models.WriteOptionsModel),
        *_model("A pipeline", models.PipelineModel),
        "## Connections",
        "In `hwm.yaml` under `connections:`, or in a `%%hwm_connections` cell. `type` says which family it is.",
        *_families(),
        "## Magics",
        *_magics(),
        "## Python",
        "All of it is in the package itself: `import hwm_magics`.",
        *_calls(),
        "## Commands",
        *_commands(),
        "## Errors",
        "Each class ends a job with its exit code.",
        "```text",
        inspect.cleandoc(errors.__doc__ or "").partition("::\n\n")[2],
        "```",
    ]
    return "\n\n".join(parts) + "\n"


def _model(title: str, model: type[BaseModel]) -> list[str]:
    rows = ["| key | values | what it says |", "|---|---|---|"]
    for name, field in model.model_fields.items():
        told = (field.description or "").replace("|", "\\|")
        rows.append(f"| `{field.alias or name}` | {_values(field.annotation)} | {told} |")
    return [f"### {title}", "\n".join(rows)]


def _values(annotation: object) -> str:
    found = sorted({str(value.value) for kind in _enums(annotation) for value in kind})
    return ", ".join(f"`{value}`" for value in found)


def _enums(annotation: object) -> list[type[StrEnum]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, StrEnum) else []
    return [found for part in typing.get_args(annotation) for found in _enums(part)]


def _families() -> list[str]:
    found = []
    for model in vars(connection_models).values():
        own = (
            isinstance(model, type)
            and issubclass(model, BaseModel)
            and model.__module__ == connection_models.__name__
        )
        if own and not model.__name__.startswith("_"):
            found += _model(
                (model.__doc__ or "").strip().splitlines()[0].rstrip(".").replace("``", "`"), model
            )
    return found


def _magics() -> list[str]:
    owners = {
        name: each for each in (HwmMagics, TargetMagics) for kind in each.magics.values() for name in kind
    }
    found = []
    for name, owner in sorted(owners.items()):
        called = [
            f"`{sign}{name}`" for sign, kind in (("%%", "cell"), ("%", "line")) if name in owner.magics[kind]
        ]
        told = inspect.getdoc(getattr(owner, name)) or ""
        found += [f"### {', '.join(called)}", f"```text\n{told.strip()}\n```"]
    return found


def _calls() -> list[str]:
    found = []
    for name in sorted(api.__all__):
        function = getattr(api, name)
        given = ", ".join(_parameter(each) for each in inspect.signature(function).parameters.values())
        told = re.sub(r":\w+:`~?(?:\w+\.)*(\w+)`", r"\1", inspect.getdoc(function) or "").replace("``", "`")
        found += [f"### `hwm_magics.{name}`", f"```text\n{name}({given})\n\n{told}\n```"]
    return found


def _parameter(parameter: inspect.Parameter) -> str:
    empty = inspect.Parameter.empty
    return parameter.name if parameter.default is empty else f"{parameter.name}={parameter.default!r}"


def _commands() -> list[str]:
    context = click.Context(command, info_name="hwm")
    found = ["```text\n" + command.get_help(context) + "\n```"]
    for name, each in sorted(command.commands.items()):
        inner = click.Context(each, info_name=f"hwm {name}")
        found += [f"### `hwm {name}`", "```text\n" + each.get_help(inner) + "\n```"]
    return found


if __name__ == "__main__":
    os.environ["COLUMNS"] = "100"  # the width that argparse and click write for
    text = page()
    if "--check" in sys.argv[1:]:
        sys.exit(
            0
            if PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
            else "docs/reference.md is stale: make docs"
        )
    PAGE.write_text(text, encoding="utf-8")
