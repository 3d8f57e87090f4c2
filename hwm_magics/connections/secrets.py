"""Credentials that don't show: a text whose every rendering is ``***``, and the scrubbing of other texts."""

from __future__ import annotations

import html
import os
import re
import sys
import threading
from collections.abc import Callable, Iterable
from typing import Any, NoReturn, Self
from urllib.parse import quote, quote_plus, unquote

from hwm_magics.errors import ConfigError, EngineNotInstalledError

__all__ = ["MASK", "Secret", "looks_secret", "resolve_secret", "scrub", "scrub_url", "secret_variable"]

MASK = "***"

# Shorter values would garble ordinary text wherever they happen to occur; the patterns of
# `scrub_url` find them where they matter.
_SHORTEST = 4

_SECRET_WORD = re.compile(
    r"pas+w|passphrase|pwd|secret|token|credential|(?:account|access|api|private|shared|signing)[_-]?\w*key|"
    r"^key$|(?:^|_)sas(?:_|$)|connection_?string|dsn_string|^url$|^uri$",
    re.IGNORECASE,
)
_KEYWORDS = (
    r"password|passwd|passphrase|pwd|account_?key|accesskey|access_key|secret_access_key|shared_?access_?key|"
    r"shared_?access_?signature|client_?secret|secret|sas_?token|session_?token|access_?token|token|sig|api_?key|"
    r"private_?key"
)
_USER_INFO = re.compile(r"(://[^\s:/?#@'\"]*:)([^\s'\"]*)(?=@)")
# An ODBC value in braces, a value up to the next semicolon, or a word.
_ASSIGNED = re.compile(
    rf"(?i)(?<![a-z])((?:{_KEYWORDS})\s*=\s*)"
    r"(\{(?:[^}]|\}\})*\}|\"[^\"\n]*\"|'[^'\n]*'|[^;\n'\"&]*(?=;)|[^;&\s'\"]+)"
)
_QUOTED = re.compile(rf"(?i)([\"'](?:{_KEYWORDS})[\"']\s*:\s*)(\"[^\"\n]*\"|'[^'\n]*')")

_lock = threading.Lock()
_known: dict[str, None] = {}


def _remember(value: str) -> None:
    """Note every form in which a driver may repeat a value."""
    if len(value) < _SHORTEST or value == MASK:
        return
    forms = {
        value,
        quote(value, safe=""),
        quote(value),
        quote_plus(value),
        repr(value)[1:-1],
        html.escape(value),
        value.replace("}", "}}"),
    }
    with _lock:
        _known.update(dict.fromkeys(forms))


def _parts(value: str) -> Iterable[str]:
    """The credentials inside a URL or connection string."""
    for found in _USER_INFO.finditer(value):
        yield found[2]
        yield unquote(found[2])
    for found in _ASSIGNED.finditer(value):
        inner = found[2].strip()
        if inner[:1] == "{" and inner[-1:] == "}":
            inner = inner[1:-1].replace("}}", "}")
        yield inner.strip("'\"")
        yield unquote(inner)


class Secret(str):
    """A text that shows as ``***`` in str, repr, format, JSON and pickle.

    It *is* the text ``***``; the value is beside it and comes out of :meth:`reveal` only. A copy is
    the same object; what was pickled comes back without its value.

    Args:
        value: The value, or a function that fetches it when it is first needed.
        masked: What may be shown of it, such as a URL without its password.
        reference: For a value fetched later: where from, as in ``secret:erp/password``.
    """

    __slots__ = ("_make", "_masked", "_reference", "_value")

    _value: str | None
    _make: Callable[[], str] | None
    _masked: str
    _reference: str

    def __new__(cls, value: str | Callable[[], str], *, masked: str = MASK, reference: str = "") -> Self:
        if isinstance(value, Secret):
            value = value.reveal
        self = super().__new__(cls, MASK)
        self._masked = masked
        self._reference = reference
        if isinstance(value, str):
            self._make, self._value = None, value
            _remember(value)
            for part in _parts(value):
                _remember(part)
        else:
            self._make, self._value = value, None
        return self

    @classmethod
    def of_address(cls, text: str) -> Self:
        """A URL or connection string, of which everything but the credentials may be shown."""
        return cls(text, masked=scrub_url(text))

    def reveal(self) -> str:
        """The value. For the library that needs it, at the moment it does; never for a message.

        Raises:
            ConfigError: It can't be found where its reference says.
        """
        if self._value is None:
            assert self._make is not None  # noqa: S101 - one of the two is set
            value = self._make()
            _remember(value)
            for part in _parts(value):
                _remember(part)
            self._value = value
        return self._value

    @property
    def masked(self) -> str:
        """What may be shown of it."""
        return self._masked

    def _identity(self) -> tuple[str, str]:
        if self._reference:
            return "reference", self._reference
        if self._value is not None:
            return "value", self._value
        return "maker", str(id(self._make))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._identity() == other._identity()

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._identity())

    def __repr__(self) -> str:
        return MASK

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> None:
        return None

    def __reduce_ex__(self, protocol: object) -> tuple[Callable[[], Secret], tuple[()]]:
        return _lost, ()


def _lost() -> Secret:
    def refuse() -> NoReturn:
        raise ConfigError(
            "this credential was pickled, and its value was left behind on purpose",
            hint="make the connection again where it is used",
        )

    return Secret(refuse)


def looks_secret(name: str) -> bool:
    """Whether an option of this name probably holds a credential."""
    return _SECRET_WORD.search(name) is not None


def scrub_url(text: str) -> str:
    """Mask the passwords, keys and tokens that stand in URLs and connection strings."""
    masked = _USER_INFO.sub(rf"\g<1>{MASK}", text)
    masked = _ASSIGNED.sub(rf"\g<1>{MASK}", masked)
    return _QUOTED.sub(rf'\g<1>"{MASK}"', masked)


def scrub(text: object, secrets: Iterable[Secret] = ()) -> str:
    """Mask every credential in a text that somebody else wrote, such as a driver's message.

    Args:
        text: An exception or its message.
        secrets: Credentials to look for beside all those that this process has met.

    Returns:
        The text with every secret of four or more characters masked wherever it stands (also
        quoted as in URLs), and whatever looks like a credential in a URL or connection string.
    """
    cleaned = str(text)
    for secret in secrets:
        # One that was never fetched can't stand in anybody's message.
        if secret._value is not None:  # noqa: SLF001 - the class is this module's own
            _remember(secret._value)  # noqa: SLF001
    with _lock:
        known = sorted(_known, key=len, reverse=True)
    for value in known:
        cleaned = cleaned.replace(value, MASK)
    return scrub_url(cleaned)


def secret_variable(scope: str, key: str) -> str:
    """The environment variable that holds ``${secret:scope/key}``."""
    return "HWM_SECRET_" + re.sub(r"[^A-Z0-9]", "_", f"{scope}_{key}".upper())


def resolve_secret(reference: str) -> str:
    """Fetch what ``${secret:scope/key}`` stands for.

    It is looked for in the environment (``HWM_SECRET_<SCOPE>_<KEY>``), in Databricks' secrets where
    there are any, and in the system's keyring, in this order.

    Args:
        reference: ``scope/key``.

    Raises:
        ConfigError: It is in none of them.
        EngineNotInstalledError: It is in none of the others, and the keyring's package is missing.
    """
    scope, _, key = reference.partition("/")
    if not scope or not key:
        raise ConfigError(f"secret {reference!r} has no key", hint="write ${secret:scope/key}")
    variable = secret_variable(scope, key)
    value = os.environ.get(variable)
    if value is not None:
        return value
    looked = [f"the environment variable {variable}"]
    utilities = _databricks()
    if utilities is not None:
        try:
            return str(utilities.secrets.get(scope=scope, key=key))
        except Exception:  # noqa: BLE001 - its classes belong to the JVM; the next place may have it
            looked.append("Databricks' secrets")
    return _from_keyring(scope, key, variable, looked)


def _databricks() -> Any:
    """Databricks' ``dbutils`` when this is one of its notebooks."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    namespace = getattr(shell, "user_ns", None) or vars(sys.modules["__main__"])
    found = namespace.get("dbutils")
    return found if hasattr(found, "secrets") else None


def _from_keyring(scope: str, key: str, variable: str, looked: list[str]) -> str:
    try:
        import keyring
        import keyring.errors
    except ImportError:
        raise EngineNotInstalledError(
            f"secret {scope}/{key} is not in {' or in '.join(looked)}, and the keyring's package is not installed",
            hint=f"set {variable}, or pip install 'hwm-magics[keyring]' and store it there",
        ) from None
    looked.append("the keyring")
    try:
        value = keyring.get_password(scope, key)
    except keyring.errors.KeyringError as error:
        raise ConfigError(
            f"secret {scope}/{key} is not in {looked[0]}, and the keyring can't be read: {scrub(error)[:200]}",
            hint=f"set {variable}",
        ) from None
    if value is None:
        raise ConfigError(
            f"secret {scope}/{key} is not in {' or in '.join(looked)}",
            hint=f"set {variable}, or store it: keyring set {scope} {key}",
        )
    return value
