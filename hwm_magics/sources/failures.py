"""What drivers raise, as errors of one family: one clean line, no credentials, and what to do."""

from __future__ import annotations

import re

from hwm_magics.connections.secrets import scrub
from hwm_magics.connections.words import near_miss
from hwm_magics.errors import (
    EngineNotInstalledError,
    IncompleteReadError,
    LoginError,
    QueryError,
    SourceConnectionError,
    SourceError,
    clean_message,
)

__all__ = ["failure", "incomplete", "lacking", "lacks_table", "not_installed", "suggestion"]

_LOGIN = re.compile(
    r"password authentication failed|no password supplied|authentication failed|login failed|access denied for user|"
    r"role \"[^\"]*\" does not exist|no pg_hba\.conf entry|ORA-01017|ORA-28000|ORA-28001|ORA-01045|"
    r"invalid username|permission denied for database|"
    r"is not permitted to log in|password cannot be|login timeout.*token|\b18456\b",
    re.IGNORECASE,
)
_CONNECTION = re.compile(
    r"connection refused|could not (?:connect|translate|resolve)|failed to connect|can't connect|cannot connect|"
    r"unable to (?:connect|open)|timeout expired|timed out|login timeout|server closed the connection|"
    r"connection (?:reset|was lost|is closed|already closed|not open|to server)|no connection to the server|"
    r"terminating connection|communication link|broken pipe|network|name or service not known|"
    r"data source name not found|can't open lib|file not found|too many (?:connections|clients)|"
    r"database (?:\"[^\"]*\" )?(?:system is )?(?:does not exist|starting up|shutting down)|unknown database|"
    r"is not a database|not a valid duckdb|ORA-125\d\d|ORA-12170|DPY-600\d|DPY-4011|DPY-1001|"
    r"ORA-03113|ORA-03114|created in a thread|is already closed|"
    r"lost connection|gone away|server has closed",
    re.IGNORECASE,
)
_NOISE = re.compile(
    r"^(?:[A-Z_]{2,}: )|\[libpq\] ?|\[SQLite\] ?|\[unixODBC\]|\[Microsoft\]|\[ODBC Driver [^\]]*\]|\[SQL Server\]|"
    r"Failed to (?:prepare|execute) query(?: '.*?')?: (?=\w)|could not begin COPY: |Execution error \[[A-Z_]+\]: |"
    r"ODBC emitted an error calling '\w+':\s*|failed to execute query: |\(Background on this error at: \S+\)",
    re.DOTALL,
)
_TAIL = re.compile(
    r"\s*(?:\n\s*Query was:|\. SQLSTATE:|(?<!prepare )(?<!execute )\bquery: |\nLINE \d+:|\n\[SQL: |"
    r";?\s*\nError while (?:executing|preparing)).*",
    re.DOTALL,
)
_NAMED = re.compile(
    r"(?:relation|table|object name|table with name|column)[: ]+(?:['\"](?P<quoted>[^'\"]+)['\"]|(?P<bare>[\w.$]+))",
    re.IGNORECASE,
)
_HINTS = {
    "42P01": "check the table's name and schema",
    "42703": "check the column's name; names in mixed case need double quotes",
    "42601": "check the SQL where the message points",
    "42501": "grant the user SELECT on it",
    "57014": "the server cancelled it: raise its statement_timeout, or read less at a time",
    "40001": "the server cancelled it in favour of another transaction: run the load again",
}


def failure(
    error: BaseException, *, doing: str, sqlstate: str = "", hint: str = "", known: tuple[str, ...] = ()
) -> SourceError:
    """A driver's exception as one of ours.

    Args:
        error: The exception.
        doing: What was being done, for the message: ``connecting to shop`` …
        sqlstate: The state that the server gave; "" for none.
        hint: The server's own hint.
        known: Tables that there are, to suggest one of.
    """
    text = _text(getattr(error, "orig", None) or error)
    line = told(text)
    kind, advice = _kind(text, sqlstate, connecting=doing.startswith("connecting"))
    advice = hint or suggestion(line, known) or advice or _HINTS.get(sqlstate, "")
    return kind(f"{doing}: {line}", hint=scrub(clean_message(advice, 300)) or None)


def _text(error: BaseException) -> str:
    """An exception's message; pyodbc's is the second part of a pair, with the state before it and a call behind."""
    state, message = error.args if len(error.args) == 2 else ("", "")  # noqa: PLR2004 - a pair
    if isinstance(state, int) and isinstance(message, str) and not isinstance(error, OSError):
        return message  # MySQL's drivers put the error's number before it
    if not isinstance(message, str) or not message.startswith(f"[{state}]"):
        return str(error)
    return re.sub(r" \(-?\d+\) \(SQL\w+\)$", "", message.removeprefix(f"[{state}]").strip())


def told(text: str) -> str:
    """The part of a driver's message that tells what is wrong, in one line without credentials."""
    text = _TAIL.sub("", clean_message(text, 4000))
    text = _NOISE.sub("", text)
    text = re.sub(r"\b(?:ERROR|FATAL):\s+", "", text)
    text = re.sub(r"^State: \w+, Native error: -?\d+, Message: ", "", text.strip())
    return scrub(clean_message(" ".join(text.split()), 300)) or "it gave no reason"


_MICROSOFT: tuple[tuple[re.Pattern[str], type[SourceError], str], ...] = (
    (
        re.compile(r"Cannot open database"),
        SourceConnectionError,
        "check the database's name, and that the user may open it",
    ),
    (
        re.compile(r"SSPI Provider|Kerberos credentials"),
        LoginError,
        "the operating system's user has no Kerberos ticket: get one with kinit, or log in in another way",
    ),
    (
        re.compile(r"SSL Provider|certificate verify failed"),
        SourceConnectionError,
        "the server's certificate is not trusted: install its authority's, or set trust_server_certificate: true",
    ),
    (
        re.compile(r"Encryption not supported"),
        SourceConnectionError,
        "the server has no encryption: set encrypt: no on the connection, where the network may be trusted",
    ),
)
"""What Microsoft's driver says, and what it does not mean to say with its state or with 'login'."""


def _kind(text: str, sqlstate: str, *, connecting: bool) -> tuple[type[SourceError], str]:
    for said, kind, advice in _MICROSOFT:
        if said.search(text):
            return kind, advice
    if sqlstate.startswith("28") or _LOGIN.search(text):
        return LoginError, "check the user's name, password and rights"
    if "due to conflict with recovery" in text:
        return QueryError, (
            "run the load again, read less at a time (first_run.chunk), or have the standby set hot_standby_feedback "
            "or a longer max_standby_streaming_delay"
        )
    missing = re.search(r"database \"([^\"]*)\" does not exist|Unknown database", text)
    if missing or sqlstate == "3D000":
        return SourceConnectionError, "check the database's name"
    if sqlstate[:2] in ("08", "53") or sqlstate[:4] == "57P0":
        return SourceConnectionError, "check that the server runs and can be reached from here"
    if "created in a thread" in text:
        return (
            SourceConnectionError,
            "make it with sqlite3.connect(…, check_same_thread=False): loads run in a thread",
        )
    if "can't open lib" in text.lower() or "data source name not found" in text.lower():
        return (
            SourceConnectionError,
            "install the ODBC driver, or name one of those that `odbcinst -q -d` lists",
        )
    if connecting or (not sqlstate and _CONNECTION.search(text)):
        return (
            SourceConnectionError,
            "check host, port and database, and that the server runs and can be reached from here",
        )
    return QueryError, ""


def suggestion(line: str, known: tuple[str, ...]) -> str:
    """``did you mean …``, for a message that names something that is not there."""
    named = _NAMED.search(line)
    if named is None or not known:
        return ""
    wanted = named["quoted"] or named["bare"].rstrip(".")
    found = near_miss(wanted, known)
    if found is None and "." not in wanted:
        by_last = {name.rpartition(".")[2]: name for name in known}
        last = near_miss(wanted, by_last)
        found = by_last[last] if last else None
    return f"did you mean {found}?" if found else ""


def lacks_table(error: BaseException) -> bool:
    """Whether SQL Server says that there is no such table."""
    return "Invalid object name" in str(error) and "INFORMATION_SCHEMA" not in str(error)


def lacking(column: str, columns: tuple[str, ...], what: str) -> QueryError:
    """The error for a column that the query does not give."""
    found = near_miss(column, columns)
    if found is not None:
        return QueryError(
            f"{what} {column!r} is not among the query's columns", hint=f"did you mean {found!r}?"
        )
    shown = ", ".join(columns[:20]) + (" …" if len(columns) > 20 else "")  # noqa: PLR2004 - what fits
    return QueryError(f"{what} {column!r} is not among the query's columns", hint=f"they are: {shown}")


def incomplete(doing: str, reason: str) -> IncompleteReadError:
    """The error for a stream that ended before its last row."""
    return IncompleteReadError(
        f"{doing}: {reason}; rows are missing, so nothing was written",
        hint="run the load again; if it happens often, look for a time-out between here and the server",
    )


def not_installed(package: str, extra: str) -> EngineNotInstalledError:
    """The error for a package that is missing."""
    line = f"pip install 'hwm-magics[{extra}]'" if extra else f"pip install {package}"
    return EngineNotInstalledError(f"the package {package} is not installed", hint=line)
