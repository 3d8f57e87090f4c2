"""The record of loaded files: how commits add up, and when one names all files again."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from hwm_magics.core.commit_info import LogEntry, decode, encode, walk
from hwm_magics.core.file_options import FileOptions, declared
from hwm_magics.core.manifest import (
    FileRecord,
    FilesSeen,
    LoadedFile,
    added_up,
    next_record,
    renewal_due,
    retention,
)
from hwm_magics.core.observed import CommitRecord
from hwm_magics.core.specs import ReadSpec
from hwm_magics.errors import ConfigError, TargetUnknownError

NOW = datetime(2024, 6, 1, 12, tzinfo=UTC)


def file(number, **changes):
    made = LoadedFile(f"orders/ü {number}.csv", number, 1_717_000_000_000_000_000 + number, 5, f"tag{number}")
    return replace(made, **changes)


def loads(count, *, at=lambda number: NOW + timedelta(seconds=number), properties=None):
    """What ``count`` loads of one new file each say, newest first, after one of 500 files."""
    records = [(next_record(None, FilesSeen(tuple(map(file, range(500)))), NOW, {}), NOW)]
    for number in range(500, 500 + count):
        seen = FilesSeen((file(number),))
        record = next_record(added_up(records), seen, at(number - 500), properties or {})
        records.insert(0, (record, at(number - 500)))
    return records


def test_commits_add_up_to_all_files_whichever_name_them_all():
    records = loads(200)
    assert set(added_up(records).files) == {file(number).path for number in range(700)}
    named = [record.full for record, _ in records]
    assert named.count(True) < 10
    assert records[0][0].count == 700


def test_no_more_than_forty_commits_are_needed_for_the_sum():
    records = loads(200)
    assert all(any(record.full for record, _ in records[at : at + 42]) for at in range(150))


def test_all_are_named_again_each_day_or_sooner_where_the_log_is_short_lived():
    daily = loads(3, at=lambda number: NOW + timedelta(days=number + 1))
    assert all(record.full for record, _ in daily)
    hourly = loads(3, at=lambda number: NOW + timedelta(hours=number + 1))
    assert not any(record.full for record, _ in hourly[:3])
    short = {"delta.logRetentionDuration": "interval 5 hours"}
    assert all(
        record.full for record, _ in loads(3, at=lambda n: NOW + timedelta(hours=n + 1), properties=short)
    )


@pytest.mark.parametrize(
    ("age", "properties", "due"),
    [
        (timedelta(days=6), {}, False),
        (timedelta(days=7), {}, True),
        (timedelta(days=1), {"delta.logRetentionDuration": "interval 2 days"}, True),
        (timedelta(days=6), {"delta.logRetentionDuration": "for ever"}, False),
    ],
)
def test_without_new_files_all_are_named_again_before_the_log_forgets_them(age, properties, due):
    manifest = added_up([(FileRecord((file(1),), full=True, count=1), NOW)])
    assert renewal_due(manifest.named_at, NOW + age, retention(properties)) is due


def test_a_sum_without_its_beginning_is_none():
    part = FileRecord((file(1),), full=False, count=9)
    assert added_up([]) is None
    assert added_up([(part, NOW)]) is None
    assert added_up([(part, NOW), (None, NOW), (FileRecord((), full=True, count=0), NOW)]) is None


def test_ten_thousand_files_are_named_in_less_than_a_megabyte():
    def one(number):
        name = f"landing/orders/2024/06/{number % 30:02}/part-{number:05}.csv"
        return LoadedFile(
            name,
            10_000 + number * 7,
            1_717_000_000_000_000_000 + number * 977,
            0,
            f"{hash(str(number)):022x}"[:22],
        )

    record = CommitRecord(
        -1,
        None,
        "n",
        "r",
        "incremental",
        1,
        files=next_record(None, FilesSeen(tuple(map(one, range(10_000)))), NOW, {}),
    )
    assert len(encode(record)) < 1_000_000


def entry(version, record):
    return LogEntry(version, NOW, "WRITE", {"mode": "Append"}, encode(record), adds=True)


def load(version, files, kind="incremental"):
    return entry(version, CommitRecord(-1, None, "n", f"r{version}", kind, version, files=files))


def test_the_log_is_walked_back_to_the_commit_that_names_all_files():
    full = FileRecord((file(1), file(2)), full=True, count=2, new=2)
    part = FileRecord((file(3),), full=False, count=3, new=1)
    found = walk([load(4, part), load(3, full), load(2, full), load(1, full, "first_run")], "n").loads
    assert [one.version for one in found] == [4, 3]
    assert found[0].files == part
    restored = LogEntry(5, NOW, "RESTORE", {"version": 3})
    (only,) = walk([restored, load(4, part), load(3, full)], "n").loads
    assert only.version == 3


def test_a_damaged_record_is_no_empty_one():
    full = FileRecord((file(1),), full=True, count=1)
    good = load(1, full)
    packed = full.to_json()["packed"]
    broken = replace(good, user_metadata=good.user_metadata.replace(packed, packed[:-12] + "AAAAAAAAAAA="))
    with pytest.raises(TargetUnknownError, match="damaged"):
        decode(broken)


def test_a_file_is_the_same_while_nothing_touched_it():
    assert file(1).looks_like(file(1))
    assert file(1).looks_like(file(1, changed=0))
    for other in ({"size": 7}, {"modified": 7}, {"changed": 7}):
        assert not file(1).looks_like(file(1, **other))


@pytest.mark.parametrize(
    ("text", "columns"),
    [
        ("id BIGINT, name STRING", (("id", "long"), ("name", "string"))),
        (
            "`odd ``name``` INT NOT NULL, d DECIMAL(10, 2)",
            (("odd `name`", "integer"), ("d", "decimal(10,2)")),
        ),
        (
            "at timestamp_ntz,v VARCHAR(20), t TIMESTAMP",
            (("at", "timestamp_ntz"), ("v", "string"), ("t", "timestamp")),
        ),
    ],
)
def test_columns_are_declared_as_in_sql(text, columns):
    assert declared(text) == columns


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("csv", {"schema": "id"}, "write it as SQL does"),
        ("csv", {"schema": "id MONEY"}, "there are long"),
        ("csv", {"schema": "id INT", "types": {"id": "long"}}, "leave read.options.types away"),
        ("csv", {"sep": ";;"}, "write one character"),
        ("csv", {"mode": "PERMISSIVE"}, "other options are Spark's"),
        ("parquet", {"header": True}, "not known for parquet"),
        ("csv", {"header": "maybe"}, "true or false"),
        ("csv", {"file_column": 3}, "write a name"),
        ("csv", {"settle": "5m"}, "write a duration"),
    ],
)
def test_an_option_that_cannot_be_used_is_refused(kind, options, words):
    with pytest.raises(ConfigError, match=words):
        FileOptions.of(ReadSpec("c", kind, path="x", options=options))
