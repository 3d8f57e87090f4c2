"""Credentials don't show, wherever they are looked at, and are masked in what others say."""

from __future__ import annotations

import copy
import json
import logging
import pickle
import pprint
import sys
import traceback
import types
from dataclasses import asdict, dataclass
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.connections import secrets
from hwm_magics.connections.secrets import (
    Secret,
    looks_secret,
    resolve_secret,
    scrub,
    scrub_url,
    secret_variable,
)
from hwm_magics.errors import ConfigError, EngineNotInstalledError


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


VALUE = "pl@nted/s{e}cret'1"


@dataclass(frozen=True)
class Holder:
    password: Secret


class TestSecret:
    def test_gives_its_value_when_asked(self):
        assert Secret(VALUE).reveal() == VALUE

    @pytest.mark.parametrize(
        "show",
        [
            str,
            repr,
            ascii,
            "{}".format,
            "{!r:>10}".format,
            lambda secret: f"{secret} {secret!s:5} {secret:<20}",
            lambda secret: "%s %r" % (secret, secret),  # noqa: UP031 - that is what is tested
            lambda secret: "a" + secret + "b",
            "".join,
            lambda secret: secret[:],
            lambda secret: secret.encode(),
            lambda secret: secret.upper(),
            list,
            json.dumps,
            lambda secret: json.dumps({"a": [secret]}, indent=1),
            lambda secret: pprint.pformat({"a": secret}),
            lambda secret: str(Holder(secret)),
            lambda secret: str(asdict(Holder(secret))),
            lambda secret: json.dumps(asdict(Holder(secret))),
            lambda secret: str(copy.copy(secret)) + str(copy.deepcopy(secret)),
            pickle.dumps,
            lambda secret: pickle.dumps(Holder(secret), protocol=0),
            lambda secret: str(secret.__getstate__()),
            lambda secret: str(getattr(secret, "__dict__", "")),
            lambda secret: logging.makeLogRecord({"msg": "%s", "args": (secret,)}).getMessage(),
        ],
    )
    def test_shows_in_no_rendering(self, show):
        shown = str(show(Secret(VALUE)))
        assert "secret'1" not in shown
        assert "nted" not in shown
        assert quote(VALUE, safe="") not in shown

    def test_survives_a_copy_and_loses_its_value_in_a_pickle(self):
        secret = Secret(VALUE)
        assert copy.deepcopy({"a": [secret]})["a"][0].reveal() == VALUE
        lost = pickle.loads(pickle.dumps(secret))
        assert str(lost) == "***"
        with pytest.raises(ConfigError, match="left behind on purpose"):
            lost.reveal()

    def test_is_equal_to_one_of_the_same_value_and_to_no_text(self):
        assert Secret("abcd") == Secret("abcd")
        assert Secret("abcd") != Secret("abce")
        assert Secret("***") != "***"
        assert Secret("abcd") != "abcd"
        assert len({Secret("abcd"), Secret("abcd"), Secret("abce")}) == 2
        assert Secret(lambda: "x", reference="r") == Secret(lambda: "y", reference="r")
        assert Secret(lambda: "x") != Secret(lambda: "x")

    def test_one_of_one_is_the_same(self):
        assert Secret(Secret(VALUE)).reveal() == VALUE

    def test_is_fetched_once_and_late(self):
        calls = []
        secret = Secret(lambda: calls.append(1) or "fetched-value")
        assert calls == []
        assert secret.reveal() == secret.reveal() == "fetched-value"
        assert calls == [1]
        assert scrub("x fetched-value") == "x ***"

    def test_of_an_address_shows_all_but_the_credentials(self):
        assert Secret.of_address("postgresql://u:pw-pw@h/d").masked == "postgresql://u:***@h/d"
        assert Secret("postgresql://u:pw-pw@h/d").masked == "***"

    def test_shows_in_no_traceback_that_prints_locals(self):
        def fail(password):
            raise RuntimeError("no")

        try:
            fail(Secret("planted-in-locals"))
        except RuntimeError as error:
            shown = traceback.TracebackException.from_exception(error, capture_locals=True)
            assert "planted-in-locals" not in "".join(list(shown.format())[2:])


class TestScrub:
    def test_masks_every_secret_that_was_ever_made(self):
        Secret("made-somewhere-else")
        assert scrub("error near made-somewhere-else!") == "error near ***!"

    @pytest.mark.parametrize(
        "written",
        [
            VALUE,
            quote(VALUE),
            quote(VALUE, safe=""),
            repr({"a": VALUE + "\\"}),
            "{" + VALUE.replace("}", "}}") + "}",
            "pl@nted/s{e}cret&#x27;1",
        ],
    )
    def test_masks_it_in_whatever_way_it_is_written(self, written):
        Secret(VALUE)
        Secret(VALUE + "\\")
        assert "cret" not in scrub(f"can't log in with {written}, sorry")

    def test_masks_the_password_inside_of_an_address_alone_too(self):
        Secret.of_address("postgresql://u:inner%2Fword@h/d")
        Secret.of_address("DRIVER={x};UID=u;PWD={br;aced}}word};")
        text = scrub("no: inner/word, inner%2Fword, br;aced}word")
        assert text == "no: ***, ***, ***"

    def test_masks_those_that_are_given(self):
        assert scrub("a given-one", [Secret("given-one")]) == "a ***"

    def test_fetches_none(self):
        def refuse():
            raise AssertionError

        assert scrub("text", [Secret(refuse)]) == "text"

    def test_leaves_what_is_too_short_to_tell(self):
        Secret("ab")
        assert scrub("about a cab") == "about a cab"

    def test_takes_exceptions(self):
        Secret("in-an-exception")
        assert scrub(ValueError("bad in-an-exception")) == "bad ***"

    @pytest.mark.parametrize(
        ("text", "masked"),
        [
            ("postgresql://u:p@h:5432/d", "postgresql://u:***@h:5432/d"),
            ("postgresql://u:p@s:s/w@h/d x", "postgresql://u:***@h/d x"),
            ("at postgresql+psycopg://u:p%40@h/d?x=1", "at postgresql+psycopg://u:***@h/d?x=1"),
            ("postgresql://h:5432/d", "postgresql://h:5432/d"),
            ("postgresql://u@h/d", "postgresql://u@h/d"),
            ("postgresql://h/d?user=u&password=p&x=1", "postgresql://h/d?user=u&password=***&x=1"),
            ("DRIVER={x};UID=u;PWD=a b;c=d", "DRIVER={x};UID=u;PWD=***;c=d"),
            ("UID=u;Pwd={a;b}}c};Encrypt=yes", "UID=u;Pwd=***;Encrypt=yes"),
            ("password = 'a b' host=h", "password = *** host=h"),
            ("host=h password=p dbname=d", "host=h password=*** dbname=d"),
            ("AccountKey=abc==;x=1", "AccountKey=***;x=1"),
            ("https://a.blob/c?sv=1&sig=abc%3D&se=2", "https://a.blob/c?sv=1&sig=***&se=2"),
            ("{'password': 'p', 'host': 'h'}", "{'password': \"***\", 'host': 'h'}"),
            ('{"client_secret": "p"}', '{"client_secret": "***"}'),
            ("aws_secret_access_key=abc", "aws_secret_access_key=***"),
            ('syntax error at or near "password"', 'syntax error at or near "password"'),
            ("PWD=", "PWD="),
            ("SELECT a FROM b WHERE c = 1", "SELECT a FROM b WHERE c = 1"),
        ],
    )
    def test_masks_what_looks_like_a_credential(self, text, masked):
        assert scrub_url(text) == masked
        assert scrub_url(masked) == masked

    @given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=8, max_size=30))
    def test_masks_any_value(self, value):
        secret = Secret("sec" + value)
        assert "sec" + value not in scrub(f"before {secret.reveal()} after {quote(secret.reveal())}")

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            ("password", True),
            ("PWD", True),
            ("account_key", True),
            ("AWS_SECRET_ACCESS_KEY", True),
            ("sas_token", True),
            ("passwd", True),
            ("pasword", True),
            ("api_key", True),
            ("connectionString", True),
            ("url", True),
            ("keys", False),
            ("host", False),
            ("sslmode", False),
            ("fetch_size", False),
            ("primary", False),
        ],
    )
    def test_knows_options_by_their_names(self, name, expected):
        assert looks_secret(name) is expected


class TestResolve:
    @pytest.fixture(autouse=True)
    def _nowhere(self, monkeypatch):
        monkeypatch.delenv("HWM_SECRET_ERP_DB_PASS", raising=False)

    def keyring(self, monkeypatch, values, error=None):
        """Put another keyring in the place of the system's."""
        errors = types.ModuleType("keyring.errors")
        errors.KeyringError = type("KeyringError", (Exception,), {})
        module = types.ModuleType("keyring")
        module.errors = errors

        def get_password(scope, key):
            if error is not None:
                raise errors.KeyringError(error)
            return values.get((scope, key))

        module.get_password = get_password
        monkeypatch.setitem(sys.modules, "keyring", module)
        monkeypatch.setitem(sys.modules, "keyring.errors", errors)

    def databricks(self, monkeypatch, values):
        """Put a `dbutils` where a Databricks notebook has it."""

        def get(scope, key):
            return values[scope, key]

        utilities = types.SimpleNamespace(secrets=types.SimpleNamespace(get=get))
        monkeypatch.setattr(sys.modules["__main__"], "dbutils", utilities, raising=False)

    def test_the_variable_has_the_names_in_capitals(self):
        assert secret_variable("erp-db", "pass.word/x") == "HWM_SECRET_ERP_DB_PASS_WORD_X"

    def test_the_environment_comes_first(self, monkeypatch):
        monkeypatch.setenv("HWM_SECRET_ERP_DB_PASS", "from-env")
        self.databricks(monkeypatch, {("erp-db", "pass"): "from-databricks"})
        self.keyring(monkeypatch, {("erp-db", "pass"): "from-keyring"})
        assert resolve_secret("erp-db/pass") == "from-env"

    def test_then_databricks(self, monkeypatch):
        self.databricks(monkeypatch, {("erp-db", "pass"): "from-databricks"})
        self.keyring(monkeypatch, {("erp-db", "pass"): "from-keyring"})
        assert resolve_secret("erp-db/pass") == "from-databricks"

    def test_then_the_keyring(self, monkeypatch):
        self.databricks(monkeypatch, {})
        self.keyring(monkeypatch, {("erp-db", "pass"): "from-keyring"})
        assert resolve_secret("erp-db/pass") == "from-keyring"

    def test_in_none_of_them_says_where_it_looked(self, monkeypatch):
        self.databricks(monkeypatch, {})
        self.keyring(monkeypatch, {})
        with pytest.raises(ConfigError) as caught:
            resolve_secret("erp-db/pass")
        text = str(caught.value)
        assert "HWM_SECRET_ERP_DB_PASS or in Databricks' secrets or in the keyring" in text
        assert "keyring set erp-db pass" in text

    def test_without_the_package_says_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "keyring", None)
        with pytest.raises(EngineNotInstalledError) as caught:
            resolve_secret("erp-db/pass")
        assert "pip install 'hwm-magics[keyring]'" in str(caught.value)
        assert "HWM_SECRET_ERP_DB_PASS" in str(caught.value)

    def test_a_keyring_that_fails_is_no_keyring_without_it(self, monkeypatch):
        self.keyring(monkeypatch, {}, error="locked, PWD=planted")
        with pytest.raises(ConfigError) as caught:
            resolve_secret("erp-db/pass")
        assert "can't be read: locked, PWD=***" in str(caught.value)

    @pytest.mark.parametrize("reference", ["erp", "erp/", "/x", ""])
    def test_a_reference_has_a_scope_and_a_key(self, reference):
        with pytest.raises(ConfigError, match="has no key"):
            resolve_secret(reference)
