"""References in values, and in SQL, where they are bound and never pasted."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.config.interpolation import (
    UNRESOLVED,
    BadReferenceError,
    Names,
    interpolate,
    param_like,
    resolve_text,
    scalar_of,
)
from hwm_magics.config.sql_references import RESERVED, bind_references
from hwm_magics.config.yaml_loader import ExactDecimal, ExactInt, load_yaml
from hwm_magics.connections import secrets
from hwm_magics.connections.secrets import Secret
from hwm_magics.core.sql_text import RESERVED_NAMES


@pytest.fixture(autouse=True)
def _secrets_of_its_own():
    """A test must not pass because another one made its secret known, nor mask what another one looks for."""
    kept = secrets._known.copy()
    secrets._known.clear()
    yield
    secrets._known.clear()
    secrets._known.update(kept)


NAMES = Names(
    declared={
        "since": "2024-01-01",
        "limit": 10,
        "none": None,
        "when": datetime(2024, 1, 2, 3, 4),
        "yes": True,
    },
    environ={"HOME_TOWN": "Ulm", "PORT": "5432"},
)


class TestValues:
    @pytest.mark.parametrize(
        ("text", "value"),
        [
            ("${since}", "2024-01-01"),
            ("${limit}", 10),
            (" ${limit} ", 10),
            ("${ limit }", 10),
            ("${when}", datetime(2024, 1, 2, 3, 4)),
            ("${none}", None),
            ("${env:PORT}", "5432"),
            ("raw/${since}/x", "raw/2024-01-01/x"),
            ("${limit}${limit}", "1010"),
            ("${yes}!", "true!"),
            ("at ${when}", "at 2024-01-02 03:04:00"),
            ("$${since}", "${since}"),
            ("a $${x} ${limit}", "a ${x} 10"),
            ("$name {limit} $", "$name {limit} $"),
            ("%{x} $$ {}", "%{x} $$ {}"),
        ],
    )
    def test_are_resolved_type_and_all(self, text, value):
        found = resolve_text(text, NAMES)
        assert found == value
        assert type(found) is type(value)

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("${sinc}", "${sinc} is not a param: did you mean 'since'?"),
            ("${x}", "give it with --param x=…, or a default under params:"),
            ("${PORT}", "write ${env:PORT} for the environment variable"),
            ("${env:PROT}", "PROT is not set: did you mean 'PORT'?"),
            ("${env:}", "names no variable"),
            ("${secret:scope}", "has no key"),
            ("${secert:a/b}", "did you mean 'secret'?"),
            ("${a-b}", "is no name"),
            ("${}", "is no name"),
            ("a ${since", "its '}' is missing"),
            ("x ${none}", "has no value (None)"),
        ],
    )
    def test_that_are_unknown_are_refused_with_a_hint(self, text, words):
        with pytest.raises(BadReferenceError) as caught:
            resolve_text(text, NAMES)
        assert words in str(caught.value)

    def test_a_param_wins_over_a_variable_and_that_over_a_default(self):
        variables = {"a": "variable", "b": "variable"}
        names = Names({"a": "param"}, variables.__getitem__, {"a": "default", "b": "default", "c": "default"})
        assert [names.value(name) for name in "abc"] == ["param", "variable", "default"]
        assert names.used == {"a", "b", "c"}

    def test_a_variable_may_be_none(self):
        assert Names(lookup={"a": None}.__getitem__, declared={"a": 1}).value("a") is None

    def test_a_param_from_a_command_line_takes_its_defaults_type(self):
        assert param_like("n", "5", 10) == 5
        assert param_like("n", "1.50", Decimal(1)) == Decimal("1.50")
        assert param_like("n", "true", default=False) is True
        assert param_like("n", "007", "001") == "007"
        assert param_like("n", "5", None) == "5"
        with pytest.raises(BadReferenceError, match="of another type"):
            param_like("n", "many", 10)
        with pytest.raises(BadReferenceError, match="of another type"):
            param_like("n", "1.5", 10)

    def test_a_secret_stays_one_alone_and_inside_of_a_longer_text(self, monkeypatch):
        monkeypatch.setenv("HWM_SECRET_ERP_PASSWORD", "hunter2!")
        alone = resolve_text("${secret:erp/password}", NAMES)
        longer = resolve_text("postgresql://u:${secret:erp/password}@h/${since}", NAMES)
        assert isinstance(alone, Secret)
        assert alone.reveal() == "hunter2!"
        assert str(longer) == "***"
        assert longer.reveal() == "postgresql://u:hunter2!@h/2024-01-01"
        assert longer.masked == "postgresql://u:***@h/2024-01-01"

    def test_a_secret_is_fetched_when_it_is_needed_and_not_before(self, monkeypatch):
        monkeypatch.delenv("HWM_SECRET_ERP_LATER", raising=False)
        secret = resolve_text("${secret:erp/later}", NAMES)
        monkeypatch.setenv("HWM_SECRET_ERP_LATER", "now-it-is-there")
        assert secret.reveal() == "now-it-is-there"

    def test_keys_are_left_alone_and_problems_have_lines(self):
        document = load_yaml('"${since}": ${limit}\nb: [x, "${oops}"]\n', offset=1)
        value = interpolate(document.value, (), NAMES, document)
        assert value == {"${since}": 10, "b": ["x", UNRESOLVED]}
        (problem,) = document.problems
        assert (problem.line, problem.path) == (3, "b[1]")

    @given(st.text(alphabet=st.characters(exclude_characters="$"), max_size=40))
    def test_a_text_without_references_is_left_alone(self, text):
        assert resolve_text(text, NAMES) == text

    @given(st.text(max_size=30))
    def test_an_escaped_text_comes_out_as_it_was(self, text):
        assert resolve_text("x" + text.replace("${", "$${"), Names(environ={})) == "x" + text


class TestScalars:
    @pytest.mark.parametrize(
        ("value", "scalar"),
        [
            (0.1, Decimal("0.1")),
            (ExactInt("5"), 5),
            (ExactDecimal("1.10"), Decimal("1.10")),
            (date(2024, 1, 1), date(2024, 1, 1)),
            (None, None),
            (True, True),
        ],
    )
    def test_are_made_plain(self, value, scalar):
        found = scalar_of(value, "x")
        assert found == scalar
        assert type(found) is type(scalar)

    def test_of_pandas_and_numpy_lose_nothing(self):
        numpy = pytest.importorskip("numpy")
        pandas = pytest.importorskip("pandas")
        assert scalar_of(numpy.int64(5), "x") == 5
        assert type(scalar_of(numpy.int64(5), "x")) is int
        assert scalar_of(numpy.float64(0.1), "x") == Decimal("0.1")
        assert (
            scalar_of(numpy.datetime64("2024-01-01T00:00:00.123456789"), "x")
            == "2024-01-01 00:00:00.123456789"
        )
        assert (
            scalar_of(pandas.Timestamp("2024-01-01 00:00:00.123456789"), "x")
            == "2024-01-01 00:00:00.123456789"
        )
        found = scalar_of(pandas.Timestamp("2024-01-01", tz="UTC"), "x")
        assert found == datetime(2024, 1, 1, tzinfo=UTC)
        assert type(found) is datetime
        with pytest.raises(BadReferenceError, match="DataFrame"):
            scalar_of(pandas.DataFrame(), "x")

    @pytest.mark.parametrize("value", [[1], {}, object(), float("nan"), float("inf"), b"x"])
    def test_that_are_none_are_refused(self, value):
        with pytest.raises(BadReferenceError):
            scalar_of(value, "x")


class TestSql:
    @pytest.mark.parametrize(
        ("sql", "bound"),
        [
            ("SELECT 1 WHERE a > ${since}", "SELECT 1 WHERE a > :since"),
            ("SELECT 1 WHERE a > '${since}'", "SELECT 1 WHERE a > :since"),
            ("a>='${since}'and b<${limit}", None),
            ("a >= '${since}' and b<${limit}", "a >= :since and b<:limit"),
            ("a > N'${since}'", "a > :since"),
            ("a > CAST(${since} AS DATE)", "a > CAST(:since AS DATE)"),
            ("f(${since},${limit})", "f(:since,:limit)"),
            ("a > ARRAY[${limit}]", "a > ARRAY[:limit]"),
            ("a = 'it''s $${x}'", "a = 'it''s ${x}'"),
            ("a = $${x}", "a = ${x}"),
            ("a -- ${nothing}\n = ${limit}", "a -- ${nothing}\n = :limit"),
            ("a /* '${nothing}' */ = ${limit}", "a /* '${nothing}' */ = :limit"),
            ("a = '-- ' AND b = ${limit}", "a = '-- ' AND b = :limit"),
            ("a::date > :since", "a::date > :since"),
            ("a > :watermark AND a <= :high AND a > :low", "a > :watermark AND a <= :high AND a > :low"),
            ("a[:n]", "a[:n]"),
        ],
    )
    def test_references_become_parameters(self, sql, bound):
        found = bind_references(sql, NAMES)
        if bound is None:
            assert found.problems
            return
        assert (found.sql, found.problems) == (bound, [])
        for name, value in found.params.items():
            assert value == NAMES.declared[name]

    def test_the_values_are_beside_the_text(self):
        names = Names({"evil": "'; DROP TABLE orders; --"})
        found = bind_references("SELECT * FROM t WHERE a = '${evil}' OR b = ${evil}", names)
        assert found.sql == "SELECT * FROM t WHERE a = :evil OR b = :evil"
        assert found.params == {"evil": "'; DROP TABLE orders; --"}

    def test_a_parameter_that_stands_there_takes_the_value_of_a_param_and_of_no_variable(self):
        names = Names(lookup={"x": 1}.__getitem__, declared={"since": 5})
        found = bind_references("a > :since AND b > :x", names)
        assert found.params == {"since": 5}
        assert found.sql == "a > :since AND b > :x"

    @pytest.mark.parametrize(
        ("sql", "words"),
        [
            ("a > ${sinc}", "did you mean 'since'?"),
            ("a LIKE '%${since}%'", "part of a longer quoted text"),
            ("a > '${since} 00:00'", "part of a longer quoted text"),
            ("a > $$ ${since} $$", "part of a longer quoted text"),
            ('SELECT "${since}"', "can't be a column's or table's name"),
            ("SELECT `${since}`", "can't be a column's or table's name"),
            ("SELECT [${since}]", "can't be a column's or table's name"),
            ("SELECT * FROM ${since}", "stands where a name does"),
            ("SELECT * FROM a JOIN ${since}", "stands where a name does"),
            ("SELECT * FROM dbo.${since}", "stands where a name does"),
            ("SELECT * FROM ${since}.t", "stands where a name does"),
            ("SELECT * FROM orders_${since}", "stands where a name does"),
            ("a > ${env:HOME_TOWN}", "does not belong in SQL"),
            ("a > '${secret:a/b}'", "does not belong in SQL"),
            ("a > ${watermark}", "write :watermark for that"),
            ("a > ${since", "its '}' is missing"),
            ("a > ${a b}", "is no name"),
            ("${since}", "the SQL as a whole can't be ${since}"),
            ("a > '${since}'and b", "leave a space"),
            ("a > DATE '${since}'", "write CAST(${since} AS DATE), or ${since} alone"),
            ("a > timestamp'${since}'", "write CAST(${since} AS timestamp), or ${since} alone"),
            ("a > b - INTERVAL '${since}'", "write CAST(${since} AS INTERVAL)"),
        ],
    )
    def test_what_can_not_be_bound_is_refused(self, sql, words):
        found = bind_references(sql, NAMES)
        assert len(found.problems) == 1
        assert words in found.problems[0][0]

    def test_a_secret_that_a_variable_holds_is_refused_too(self):
        names = Names(lookup={"pw": Secret("hunter2!")}.__getitem__)
        found = bind_references("a = ${pw}", names)
        assert "is a credential" in found.problems[0][0]
        assert found.params == {}

    def test_the_names_that_the_load_itself_gives_are_those_of_the_sql_reader(self):
        assert RESERVED == RESERVED_NAMES

    @given(st.text(alphabet="ab'\"-/*[]`$ {}:\n", max_size=40))
    def test_no_reference_is_left_where_a_database_would_see_it(self, text):
        found = bind_references(f"SELECT 1 {text} ", NAMES)
        assert isinstance(found.sql, str)

    @given(st.text(alphabet=st.characters(exclude_characters="$:"), max_size=60))
    def test_sql_without_references_is_left_alone(self, sql):
        assert bind_references(sql, NAMES).sql == sql
