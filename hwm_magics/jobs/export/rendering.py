"""The templates of exports, and how values are written into each language."""

from __future__ import annotations

import functools
import json
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from hwm_magics.errors import EngineNotInstalledError
from hwm_magics.version import __version__

if TYPE_CHECKING:
    import jinja2

__all__ = ["needs_jobs_extra", "python_text", "python_value", "render"]


@contextmanager
def needs_jobs_extra(what: str) -> Iterator[None]:
    """Say which extra is missing where an import inside fails."""
    try:
        yield
    except ImportError as error:
        raise EngineNotInstalledError(
            f"{what} needs the package {error.name or 'of an extra'}", hint="pip install 'hwm-magics[jobs]'"
        ) from None


def render(template: str, **values: object) -> str:
    """A template's text with its values.

    Args:
        template: Its file's name below ``templates``.
        values: What it names; a name without a value is an error.
    """
    return _environment().get_template(template).render(version=__version__, **values)


@functools.cache
def _environment() -> jinja2.Environment:
    with needs_jobs_extra("an export"):
        import jinja2
    # Delimiters that neither GitHub's expressions, Airflow's templates, shell nor Python have. Nothing is
    # HTML here; each place says by its filter which language's quotes it needs.
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("hwm_magics.jobs.export", "templates"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # noqa: S701 - none of the templates is HTML
        block_start_string="<%",
        block_end_string="%>",
        variable_start_string="<{",
        variable_end_string="}>",
        comment_start_string="<#",
        comment_end_string="#>",
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "py": python_value,
        "block": python_text,
        "yaml": lambda value: json.dumps(value, ensure_ascii=False),
        "sh": lambda value: shlex.quote(str(value)),
        "comment": _comment,
        "doc": lambda text: _comment(text).replace("\\", "/").replace(chr(34), chr(39)),
        "expression": lambda value: "'" + str(value).replace("'", "''") + "'",
        "systemd": lambda value: str(value).replace("\\", "\\\\").replace("%", "%%"),
        "crontab": lambda value: shlex.quote(str(value)).replace("%", r"\%"),
    }
    return environment


def python_value(value: object) -> str:
    """A value as Python code, texts in double quotes."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\x7f")
    if isinstance(value, list):
        return f"[{', '.join(map(python_value, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(python_value, value))}{',' if len(value) == 1 else ''})"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{python_value(key)}: {python_value(one)}" for key, one in value.items()) + "}"
        )
    return repr(value)


def python_text(text: str) -> str:
    """A text of several lines as Python code that reads as the text does."""
    body = text if text.endswith("\n") else f"{text}\n"
    if '"""' in body or any(not letter.isprintable() and letter != "\n" for letter in body):
        return python_value(body)
    # A raw text can't begin below its quotes, and an ordinary one would misread backslashes.
    return f'r"""{body}"""' if "\\" in body else f'"""\\\n{body}"""'


def _comment(text: str) -> str:
    """A text that can't leave its comment."""
    return " ".join(str(text).split())
