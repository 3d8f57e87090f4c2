"""What files of each kind give: exact types, or an error with file and line."""

from __future__ import annotations

import gzip
import json
from datetime import date, datetime
from decimal import Decimal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import hwm_magics
from hwm_magics.errors import ConfigError, HwmError, QueryError, SchemaMismatchError


def columns(plan):
    return {column.name: column.type for column in plan.source.columns}


class TestCsv:
    def write(self, landing, text, name="a.csv"):
        (landing.files / name).write_text(text)

    def test_types_are_told_by_the_values_and_nothing_is_lost(self, landing):
        self.write(
            landing,
            "id,zip,big,price,day,at,zoned,yes,none\n"
            "1,01234,12345678901234567890,1.5,2024-06-01,2024-06-01 10:00:00.123456,2024-06-01T10:00:00+02:00,true,\n"
            "2,99999,2,2,2024-06-02,2024-06-02 10:00:00,2024-06-02T10:00:00Z,false,\n",
        )
        assert columns(landing.plan()) == {
            "id": "long",
            "zip": "string",
            "big": "string",
            "price": "double",
            "day": "date",
            "at": "timestamp_ntz",
            "zoned": "timestamp",
            "yes": "boolean",
            "none": "string",
        }
        landing.load()
        first = landing.rows()[0]
        assert (first["zip"], first["big"], first["none"]) == ("01234", "12345678901234567890", None)
        assert first["at"] == datetime(2024, 6, 1, 10, 0, 0, 123456)
        assert first["zoned"].isoformat() == "2024-06-01T08:00:00+00:00"

    def test_declared_types_count(self, landing):
        self.write(landing, "id,price\n1,0.10\n2,\n")
        landing.load(options=", types: {id: string, price: 'decimal(10,2)'}")
        assert landing.rows() == [{"id": "1", "price": Decimal("0.10")}, {"id": "2", "price": None}]

    def test_a_column_keeps_the_type_that_the_target_has(self, landing):
        self.write(landing, "id,code\n1,A7\n")
        landing.load()
        self.write(landing, "id,code\n2,17\n", "b.csv")
        landing.load()
        assert [row["code"] for row in landing.rows()] == ["A7", "17"]

    def test_other_forms_are_read_as_they_are_described(self, landing):
        text = "1;'a;b';1,50;31.12.2024 23:59:58;-\n2;é;2,00;01.01.2025 00:00:00;x\n"
        (landing.files / "a.csv").write_bytes(text.encode("latin-1"))
        landing.load(
            options=", header: false, sep: ';', quote: \"'\", decimal: ',', encoding: latin-1, null_values: '-', "
            "timestamp_formats: '%d.%m.%Y %H:%M:%S', "
            "schema: 'id INT, name STRING, price DECIMAL(5,2), at TIMESTAMP_NTZ, note STRING'"
        )
        assert landing.rows() == [
            {
                "id": 1,
                "name": "a;b",
                "price": Decimal("1.50"),
                "at": datetime(2024, 12, 31, 23, 59, 58),
                "note": None,
            },
            {"id": 2, "name": "é", "price": Decimal("2.00"), "at": datetime(2025, 1, 1), "note": "x"},
        ]

    def test_an_empty_text_is_no_null_and_na_is_a_text(self, landing):
        self.write(landing, 'id,a,b\n1,"",NA\n2,,NULL\n')
        landing.load()
        assert [(row["a"], row["b"]) for row in landing.rows()] == [("", "NA"), (None, "NULL")]

    def test_lines_within_quotes_and_compressed_files(self, landing):
        (landing.files / "a.csv.gz").write_bytes(gzip.compress(b'id,text\n1,"two\nlines"\n'))
        landing.load("orders/*.csv.gz")
        assert landing.rows()[0]["text"] == "two\nlines"

    def test_a_new_column_is_added_and_a_missing_one_is_null(self, landing):
        self.write(landing, "id,a\n1,x\n")
        landing.load()
        self.write(landing, "a,id,b\ny,2,7\n", "b.csv")
        self.write(landing, "id\n3\n", "c.csv")
        plan = landing.plan()
        assert any("1 file without the column a" in note for note in plan.notes)
        landing.load()
        assert [(row["id"], row["a"], row["b"]) for row in landing.rows()] == [
            (1, "x", None),
            (2, "y", 7),
            (3, None, None),
        ]
        self.write(landing, "id,c\n4,1\n", "d.csv")
        with pytest.raises(SchemaMismatchError, match="schema is strict"):
            landing.load(write=", schema: strict")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            (
                "id,a\n1,2\nx,3\n",
                r"orders/b\.csv, line 3, column id does not fit .* int64: invalid value 'x'",
            ),
            ("id,a\n1,2\n3\n", r"orders/b\.csv, line 3 does not fit .*Expected 2 columns, got 1"),
            ("id,a\n1,2,3\n", r"line 2 .*Expected 2 columns, got 3"),
            ("id,id\n1,2\n", "columns without a name of their own: id"),
        ],
        ids=["a value", "too few", "too many", "a name twice"],
    )
    def test_what_does_not_fit_is_an_error_with_file_and_line(self, landing, text, words):
        self.write(landing, "id,a\n7,8\n")
        landing.load()
        self.write(landing, text, "b.csv")
        with pytest.raises(QueryError, match=words):
            landing.load()
        assert landing.ids() == [7]

    def test_a_value_beyond_the_sample_is_an_error_and_no_null(self, landing):
        self.write(landing, "id\n" + "1\n" * 700_000 + "many\n")
        with pytest.raises(QueryError, match=r"line 700002, column id .*invalid value 'many'"):
            landing.load()

    def test_declared_columns_are_all_there_or_the_file_is_refused(self, landing):
        self.write(landing, "id,name\n1,a\n")
        with pytest.raises(QueryError, match="it lacks note and it has name"):
            landing.load(options=", schema: 'id INT, note STRING'")
        with pytest.raises(QueryError, match="no file has such a column"):
            landing.load(options=", types: {nmae: string}")

    def test_a_condition_and_columns_are_chosen(self, landing):
        landing.put("a.csv", 1, 2, 3)
        landing.load(read=", columns: [id], where: \"id > 1 AND name LIKE 'name%'\"")
        assert landing.rows() == [{"id": 2}, {"id": 3}]

    def test_a_transform_gets_the_rows(self, landing, monkeypatch):
        (landing.root / "shaping.py").write_text(
            "def double(frame):\n    return frame.assign(id=frame['id'] * 2)\n"
        )
        monkeypatch.syspath_prepend(landing.root)
        landing.put("a.csv", 1, 2)
        hwm_magics.load("transform: shaping:double\n" + landing.text(), engine="pandas")
        assert landing.ids() == [2, 4]


class TestJson:
    def write(self, landing, *rows, name="a.json"):
        (landing.files / name).write_text("".join(json.dumps(row) + "\n" for row in rows))

    def test_lines_are_rows(self, landing):
        self.write(
            landing, {"id": 1, "at": "2024-06-01 10:00:00", "tags": ["a"], "who": {"name": "x"}}, {"id": 2}
        )
        assert columns(landing.plan("orders/*.json")) == {
            "id": "long",
            "at": "timestamp_ntz",
            "tags": "array<string>",
            "who": "struct<name:string>",
        }
        landing.load("orders/*.json")
        self.write(landing, {"id": 3, "tags": []}, name="b.json")
        landing.load("orders/*.json")
        assert [row["tags"] for row in landing.rows()] == [["a"], None, []]

    def test_declared_types_count(self, landing):
        self.write(
            landing, {"id": "7", "price": "0.10", "day": "2024-06-01", "at": "2024-06-01T10:00:00+02:00"}
        )
        landing.load("orders/*.json", options=", types: {price: 'decimal(5,2)', day: date, at: timestamp}")
        row = landing.rows()[0]
        assert (row["price"], row["day"], row["at"].isoformat()) == (
            Decimal("0.10"),
            date(2024, 6, 1),
            "2024-06-01T08:00:00+00:00",
        )

    def test_the_zone_of_a_time_is_kept_or_missed(self, landing):
        zoned, plain, inside = (
            "2024-06-01T10:00:00+02:00",
            "2024-06-01T10:00:00",
            {"at": "2024-06-01T10:00:00Z"},
        )
        self.write(
            landing,
            {"id": 1, "zoned": zoned, "plain": plain, "some": zoned, "inside": inside, "day": "2024-06-01"},
            {"some": plain},
        )
        types = columns(landing.plan("orders/*.json"))
        assert (types["zoned"], types["plain"], types["day"], types["some"], types["inside"]) == (
            "timestamp",
            "timestamp_ntz",
            "timestamp_ntz",
            "string",
            "struct<at:string>",
        )
        landing.load("orders/*.json")
        row = landing.rows()[0]
        assert (row["zoned"].isoformat(), row["inside"]) == ("2024-06-01T08:00:00+00:00", inside)
        self.write(landing, {"id": 2, "plain": zoned}, name="b.json")
        with pytest.raises(QueryError, match=r"b\.json does not fit its columns: .*expected no zone offset"):
            landing.load("orders/*.json")

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"id": 1}\n{"id": "x"}\n', r"a\.json.*changed from number to string"),
            ('{"id": 1}\n{"id": 2', r"a\.json"),
            ('[{"id": 1},\n{"id": 2}]\n', "one object a line"),
        ],
        ids=["types", "cut off", "a list"],
    )
    def test_what_does_not_fit_is_an_error_that_names_the_file(self, landing, text, words):
        (landing.files / "a.json").write_text(text)
        with pytest.raises(QueryError, match=words):
            landing.load("orders/*.json")

    def test_a_field_beyond_the_sample_is_an_error_and_not_dropped(self, landing):
        with (landing.files / "a.json").open("w") as file:
            file.writelines('{"id": 1, "filling": "%s"}\n' % ("x" * 1000) for _ in range(1200))
            file.write('{"id": 2, "late": 7}\n')
        with pytest.raises(QueryError, match="unexpected field"):
            landing.load("orders/*.json")
        landing.load("orders/*.json", options=", types: {late: long}")
        assert landing.rows()[-1]["late"] == 7


class TestParquet:
    def test_types_are_the_files_own(self, landing):
        table = pa.table(
            {
                "id": pa.array([1], pa.int32()),
                "price": pa.array([Decimal("1.50")], pa.decimal128(38, 9)),
                "at": pa.array([datetime(2024, 6, 1)], pa.timestamp("ns", "UTC")),
                "raw": pa.array([b"\x00\xff"]),
                "tags": pa.array([[1, 2]]),
                "word": pa.array(["x"]).dictionary_encode(),
                "none": pa.nulls(1),
            }
        )
        pq.write_table(table, landing.files / "a.parquet")
        assert columns(landing.plan("orders/*.parquet")) == {
            "id": "integer",
            "price": "decimal(38,9)",
            "at": "timestamp",
            "raw": "binary",
            "tags": "array<long>",
            "word": "string",
            "none": "string",
        }
        landing.load("orders/*.parquet")
        row = landing.rows()[0]
        assert (row["price"], row["raw"], row["tags"], row["word"]) == (
            Decimal("1.5"),
            b"\x00\xff",
            [1, 2],
            "x",
        )

    def test_columns_of_several_files_go_together(self, landing):
        pq.write_table(pa.table({"id": pa.array([1], pa.int32())}), landing.files / "a.parquet")
        pq.write_table(pa.table({"id": pa.array([2**40]), "b": ["x"]}), landing.files / "b.parquet")
        assert columns(landing.plan("orders/*.parquet")) == {"id": "long", "b": "string"}
        landing.load("orders/*.parquet")
        assert landing.ids() == [1, 2**40]
        pq.write_table(pa.table({"id": ["x"]}), landing.files / "c.parquet")
        with pytest.raises(HwmError, match="string"):
            landing.load("orders/*.parquet")

    def test_a_file_without_its_footer_is_an_error_that_names_it(self, landing):
        pq.write_table(pa.table({"id": [1]}), landing.files / "a.parquet")
        whole = (landing.files / "a.parquet").read_bytes()
        (landing.files / "b.parquet").write_bytes(whole[:-20])
        with pytest.raises(QueryError, match=r"orders/b\.parquet.*"):
            landing.load("orders/*.parquet")
        (landing.files / "b.parquet").unlink()
        landing.load("orders/*.parquet")

    def test_nanoseconds_that_delta_lacks_are_refused(self, landing):
        odd = pa.array([1], pa.int64()).cast(pa.timestamp("ns"))
        pq.write_table(pa.table({"id": [1], "at": odd}), landing.files / "a.parquet")
        with pytest.raises(HwmError, match="at"):
            landing.load("orders/*.parquet")

    def test_types_are_not_declared(self, landing):
        pq.write_table(pa.table({"id": [1]}), landing.files / "a.parquet")
        with pytest.raises(QueryError, match="tell their own types"):
            landing.load("orders/*.parquet", options=", types: {id: string}")
        with pytest.raises(ConfigError, match="not known for parquet"):
            landing.load("orders/*.parquet", options=", header: true")


class TestCursor:
    CURSOR = ", incremental: {column: at}"

    def test_rows_above_the_mark_are_loaded_from_old_and_new_files(self, landing):
        landing.put("a.csv", 1, 2)
        first = landing.load(read=self.CURSOR)
        assert str(first.watermark_after) == "2024-06-02 10:00:00.123452"
        landing.put("a.csv", 1, 2, 4)
        landing.put("b.csv", 3)
        second = landing.load(read=self.CURSOR)
        assert (second.rows_written, str(second.watermark_after)) == (2, "2024-06-04 10:00:00.123454")
        assert landing.load(read=self.CURSOR).status == "nothing_new"
        assert landing.ids() == [1, 2, 3, 4]

    def test_the_highest_value_is_read_and_not_told_by_statistics(self, landing):
        at = pa.array([datetime(2024, 6, 1, 0, 0, 0, 123999), datetime(2024, 6, 1)], pa.timestamp("us"))
        pq.write_table(pa.table({"id": [1, 2], "at": at}), landing.files / "a.parquet")
        result = landing.load("orders/*.parquet", read=self.CURSOR)
        assert str(result.watermark_after) == "2024-06-01 00:00:00.123999"

    def test_rows_of_the_future_wait(self, landing):
        (landing.files / "a.csv").write_text("id,at\n1,2024-06-01 10:00:00\n2,2999-01-01 00:00:00\n")
        result = landing.load(read=self.CURSOR)
        assert (result.rows_written, str(result.watermark_after)) == (1, "2024-06-01 10:00:00")

    def test_a_young_file_holds_the_mark_back_so_that_its_rows_are_found_later(self, landing):
        now = datetime.now()
        (landing.files / "a.csv").write_text("id,at\n1,2024-06-01 10:00:00\n")
        landing.load(read=self.CURSOR)
        (landing.files / "a.csv").write_text(f"id,at\n2,{now.isoformat(sep=' ')}\n")
        (landing.files / "old.csv").write_text("id,at\n1,2024-06-01 10:00:00\n")
        plan = landing.plan(read=self.CURSOR, settle="1h")
        assert (plan.source.high, len(plan.source.files.waiting)) == (None, 2)

    def test_whole_numbers_and_texts_are_cursors_too(self, landing):
        landing.put("a.csv", 1, 2)
        by_id = ", incremental: {column: id}"
        landing.load(read=by_id)
        landing.put("b.csv", 3)
        assert landing.load(read=by_id).rows_written == 1

    def test_a_cursor_that_no_file_has_is_named(self, landing):
        landing.put("a.csv", 1)
        with pytest.raises(QueryError, match="'updated' is not among"):
            landing.load(read=", incremental: {column: updated}")

    def test_a_window_is_loaded_again_by_a_backfill(self, landing):
        landing.put("a.csv", 1, 2)
        landing.load(read=self.CURSOR)
        landing.put("a.csv", 1, 5, 2)
        text = landing.text(read=self.CURSOR)
        hwm_magics.load(text, engine="pandas", backfill=("2024-06-01", "2024-06-02 23:00:00"))
        assert landing.ids() == [1, 2]
