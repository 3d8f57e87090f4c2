"""What a load writes into the log about itself, and the walk back that finds it again."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwm_magics.core.commit_info import (
    FORMAT,
    SETTLED,
    LogEntry,
    app_id,
    decode,
    encode,
    settled,
    walk,
)
from hwm_magics.core.cursor import CursorKind, CursorType, TextForm
from hwm_magics.core.observed import CommitRecord, SourceIdentity, Watermark
from hwm_magics.errors import TargetUnknownError

START = datetime(2024, 6, 1, 12, tzinfo=UTC)
TIME = CursorType(CursorKind.TIMESTAMP, 6, "timestamp")
NUMBER = CursorType(CursorKind.INTEGER, 0, "bigint")
NODE = "orders"


def a_record(**changes) -> CommitRecord:
    mark = Watermark("u", TIME.value("2024-06-01 12:00:00.123456"))
    record = CommitRecord(7, START, NODE, "run-1", "incremental", 3, watermark=mark, asked_at=START)
    return replace(record, **changes)


@dataclass
class Log:
    """A log in the making; the clock moves a minute with every commit."""

    entries: list[LogEntry] = field(default_factory=list)
    cursor: CursorType = NUMBER
    step: timedelta = timedelta(minutes=1)

    @property
    def version(self) -> int:
        return len(self.entries) - 1

    def commit(self, operation: str, parameters=None, *, adds=None, removes=None, metadata=None) -> Log:
        number = len(self.entries)
        self.entries.append(
            LogEntry(
                number, START + number * self.step, operation, parameters or {}, metadata, {}, adds, removes
            )
        )
        return self

    def load(self, mark=None, node=NODE, kind="incremental", operation="WRITE", mode="Append") -> Log:
        number = len(self.entries)
        value = None if mark is None else Watermark("u", self.cursor.value(mark))
        at = START + number * self.step
        record = CommitRecord(-1, None, node, f"run-{number}", kind, number, watermark=value, asked_at=at)
        return self.commit(operation, {"mode": mode}, adds=True, removes=False, metadata=encode(record))

    def append(self) -> Log:
        return self.commit("WRITE", {"mode": "Append"}, adds=True, removes=False)

    def restore(self, version: int) -> Log:
        return self.commit("RESTORE", {"version": str(version)}, adds=True, removes=True)

    def restore_to(self, moment: datetime, key="datetime") -> Log:
        value = str(int(moment.timestamp() * 1000)) if key == "datetime" else f"{moment:%Y-%m-%d %H:%M:%S}"
        return self.commit("RESTORE", {key: value}, adds=True, removes=True)

    def walk(self, node=NODE, *, oldest=0):
        return walk([entry for entry in reversed(self.entries) if entry.version >= oldest], node)

    def mark(self, node=NODE):
        found = self.walk(node)
        return found.loads[0].watermark.value.text if found.loads else None


@pytest.mark.parametrize(
    "value",
    [
        TIME.value("2024-06-01 12:00:00.123456"),
        CursorType(CursorKind.TIMESTAMP, 9).value("2024-06-01 12:00:00.123456789"),
        CursorType(CursorKind.TIMESTAMP_TZ, 6).value("2024-06-01 12:00:00+02:00"),
        CursorType(CursorKind.DATE).value("2024-06-01"),
        NUMBER.value(2**63 - 1),
        CursorType(CursorKind.DECIMAL, 2).value("9" * 36 + ".99"),
        CursorType(CursorKind.ROWVERSION).value("0xFFFFFFFFFFFFFFFF"),
        CursorType(CursorKind.TEXT, 0, "", TextForm.of("2024-06-01T00:00:00Z")).value("2024-06-01T00:00:00Z"),
    ],
    ids=lambda value: value.type.kind.value,
)
def test_a_commit_tells_its_mark_exactly(value):
    record = a_record(watermark=Watermark("COALESCE(a, b)", value), low=value, high=value)
    entry = LogEntry(7, START, "WRITE", user_metadata=encode(record))
    assert decode(entry) == record


@given(st.text(), st.text(), st.text())
def test_names_of_any_kind_survive(node, column, source):
    record = a_record(
        node=node,
        watermark=Watermark(column, NUMBER.value(1)),
        source=SourceIdentity(source, "", source),
    )
    assert decode(LogEntry(7, START, "WRITE", user_metadata=encode(record))) == record


def test_a_load_without_a_mark_or_window_survives():
    record = a_record(watermark=None, low=None, high=None, asked_at=None)
    assert decode(LogEntry(7, START, "WRITE", user_metadata=encode(record))) == record


def test_a_mark_that_was_set_by_hand_says_so():
    record = a_record(kind="mark")
    found = decode(LogEntry(7, START, "WRITE", user_metadata=encode(record)))
    assert found.watermark.origin == "set"


def test_the_info_is_one_line_that_names_the_format():
    text = encode(a_record())
    assert "\n" not in text
    assert json.loads(text)["hwm_magics"] == FORMAT


def test_each_node_has_its_own_transactions():
    assert app_id("orders") != app_id("lines")


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "nightly load",
        '{"job": 7}',
        'the "hwm_magics" load',
        '["hwm_magics"]',
        '{"note": "\\"hwm_magics\\""}',
    ],
)
def test_what_others_say_of_their_commits_is_theirs(text):
    assert decode(LogEntry(7, START, "WRITE", user_metadata=text)) is None


def test_a_newer_format_is_refused_and_not_misread():
    text = json.dumps({**json.loads(encode(a_record())), "hwm_magics": FORMAT + 1})
    with pytest.raises(TargetUnknownError, match="newer") as caught:
        decode(LogEntry(7, START, "WRITE", user_metadata=text))
    assert "pip install" in caught.value.hint


def damaged_infos():
    whole = json.loads(encode(a_record()))
    yield encode(a_record())[:-20]
    for key in ("node", "run_id", "kind", "seq"):
        yield json.dumps({name: value for name, value in whole.items() if name != key})
    yield json.dumps({**whole, "seq": "many"})
    yield json.dumps({**whole, "asked": "noon"})
    for mark in (
        {"column": "u"},
        {**whole["watermark"], "value": "noon"},
        {**whole["watermark"], "type": "text"},
    ):
        yield json.dumps({**whole, "watermark": mark})
    yield json.dumps({**whole, "watermark": {**whole["watermark"], "type": {"kind": "colour"}}})


@pytest.mark.parametrize("text", tuple(damaged_infos()))
def test_damaged_info_is_unknown_and_not_absent(text):
    with pytest.raises(TargetUnknownError, match="damaged") as caught:
        decode(LogEntry(7, START, "WRITE", user_metadata=text))
    assert caught.value.hint


@given(st.integers(1, len(encode(a_record())) - 1))
def test_info_that_was_cut_short_is_never_a_mark(length):
    text = encode(a_record())[:length]
    try:
        assert decode(LogEntry(7, START, "WRITE", user_metadata=text)) is None
    except TargetUnknownError:
        return
    assert not text.startswith('{"hwm_magics"')


KEEPS = [
    ("OPTIMIZE", {}),
    ("VACUUM START", {}),
    ("VACUUM END", {}),
    ("SET TBLPROPERTIES", {}),
    ("ADD COLUMN", {}),
    ("ADD COLUMNS", {}),
    ("CHANGE COLUMN", {}),
    ("ADD CONSTRAINT", {}),
    ("ADD FEATURE", {}),
    ("UPGRADE PROTOCOL", {}),
    ("CLUSTER BY", {}),
    ("COMPUTE STATS", {}),
]


@pytest.mark.parametrize(("operation", "parameters"), KEEPS, ids=[name for name, _ in KEEPS])
def test_what_keeps_the_rows_is_passed_over(operation, parameters):
    found = Log().load(5).commit(operation, parameters, adds=True, removes=True).walk()
    assert found.loads[0].watermark.value.text == "5"
    assert found.events == ()


def test_foreign_appends_are_passed_over_and_noted():
    found = Log().load(5).append().append().walk()
    assert found.loads[0].watermark.value.text == "5"
    assert [(event.version, event.effect) for event in found.events] == [(2, "adds"), (1, "adds")]


def test_a_foreign_commit_without_rows_is_no_event():
    found = Log().load(5).commit("WRITE", {"mode": "Append"}, adds=False, removes=False).walk()
    assert found.events == ()


REMOVES = [
    ("DELETE", {"predicate": "id = 7"}),
    ("DELETE", {"predicate": '["(id#12 = 7)"]'}),
    ("UPDATE", {"predicate": "true"}),
    ("MERGE", {}),
    ("WRITE", {"mode": "Overwrite", "predicate": "id = 1"}),
    ("WRITE", {"mode": "Overwrite", "partitionOverwriteMode": "dynamic"}),
    ("FSCK", {}),
    ("SOMETHING NEW", {}),
    ("", {}),
]


@pytest.mark.parametrize(
    ("operation", "parameters"), REMOVES, ids=[f"{name} {given}" for name, given in REMOVES]
)
@pytest.mark.parametrize("looked", [True, False], ids=["files seen", "by name only"])
def test_what_changes_rows_is_noted_and_the_load_still_found(operation, parameters, looked):
    flag = True if looked else None
    found = Log().load(5).commit(operation, parameters, adds=flag, removes=flag).walk()
    assert found.loads[0].watermark.value.text == "5"
    assert [event.effect for event in found.events] == ["removes"]
    assert found.replaced is None


REPLACES = [
    ("WRITE", {"mode": "Overwrite"}),
    ("WRITE", {"mode": "Overwrite", "predicate": "[]"}),
    ("WRITE", {"mode": "Overwrite", "partitionOverwriteMode": "static"}),
    ("STREAMING UPDATE", {"outputMode": "Complete"}),
    ("DELETE", {}),
    ("DELETE", {"predicate": "[]"}),
    ("DELETE", {"predicate": '["true"]'}),
    ("TRUNCATE", {}),
    ("CREATE OR REPLACE TABLE", {}),
    ("CREATE OR REPLACE TABLE AS SELECT", {}),
    ("REPLACE TABLE", {}),
    ("REPLACE TABLE AS SELECT", {}),
    ("CLONE", {}),
]


@pytest.mark.parametrize(
    ("operation", "parameters"), REPLACES, ids=[f"{name} {given}" for name, given in REPLACES]
)
def test_where_others_replaced_all_rows_earlier_loads_hold_no_longer(operation, parameters):
    found = Log().load(4).load(5).commit(operation, parameters, adds=True, removes=True).append().walk()
    assert found.loads == ()
    assert found.replaced.watermark.value.text == "5"
    assert [event.effect for event in found.events] == ["adds", "replaces"]


def test_a_load_after_a_foreign_overwrite_holds():
    log = Log().load(4).commit("WRITE", {"mode": "Overwrite"}, adds=True, removes=True).load(9)
    assert log.mark() == "9"
    assert log.walk().events == ()


def test_other_nodes_are_named_and_their_marks_are_not_taken():
    found = Log().load(5).load(50, node="lines").load(70, node="customers").walk()
    assert found.loads[0].watermark.value.text == "5"
    assert found.other_nodes == ("customers", "lines")
    assert [event.effect for event in found.events] == ["adds", "adds"]


def test_a_full_reload_by_another_node_replaces_ours():
    found = Log().load(5).load(50, node="lines", kind="full_reload", mode="Overwrite").walk()
    assert found.loads == ()
    assert found.replaced.watermark.value.text == "5"


def test_our_own_empty_create_is_no_load():
    found = Log().load(kind="create", operation="CREATE TABLE").walk()
    assert (found.loads, found.events, found.replaced, found.created) == ((), (), None, True)


def test_a_damaged_commit_of_ours_stops_the_walk():
    log = Log().load(5).commit("WRITE", {"mode": "Append"}, adds=True, metadata='{"hwm_magics":1,"node":"or')
    with pytest.raises(TargetUnknownError, match="version 1"):
        log.walk()


def test_a_restore_continues_at_the_version_that_it_restored():
    log = Log().load(1).load(2).load(3).restore(1)
    assert log.mark() == "2"
    assert log.walk().restores == ("version 3 restored version 1",)
    assert log.walk().events == ()


def test_loads_after_a_restore_count_again():
    assert Log().load(1).load(2).restore(0).load(9).mark() == "9"


def test_a_restore_before_the_first_load_leaves_none():
    found = Log().load(kind="create", operation="CREATE TABLE").load(2).restore(0).walk()
    assert (found.loads, found.events) == ((), ())


def test_a_chain_of_restores_is_followed():
    log = Log().load(1).load(2).load(3).restore(1).load(4).restore(3)
    assert log.mark() == "2"
    assert len(log.walk().restores) == 2


def test_a_restore_undoes_what_others_did():
    log = Log().load(5).commit("DELETE", {}, removes=True).restore(0)
    assert log.mark() == "5"
    assert log.walk().events == ()


@pytest.mark.parametrize("key", ["datetime", "timestamp"])
def test_a_restore_to_a_moment_continues_there_and_is_noted_as_a_change(key):
    log = Log().load(1).load(2).load(3).restore_to(START + timedelta(seconds=90), key)
    found = log.walk()
    assert found.loads[0].watermark.value.text == "2"
    assert [event.operation for event in found.events] == ["RESTORE"]
    assert [event.effect for event in found.events] == ["removes"]
    assert len(found.restores) == 1


def test_a_load_after_a_restore_to_a_moment_holds_without_an_event():
    assert Log().load(1).load(2).restore_to(START).load(3).walk().events == ()


def test_a_restore_to_nothing_that_names_a_version_is_unknown():
    with pytest.raises(TargetUnknownError, match="names no version"):
        Log().load(1).commit("RESTORE", {"timestamp": "last tuesday"}).walk()


ACTIONS = st.sampled_from(["load", "other", "append", "optimize", "delete", "overwrite", "restore", "moment"])


@given(st.lists(st.tuples(ACTIONS, st.integers(0, 30)), min_size=1, max_size=25))
def test_the_walk_finds_what_the_newest_version_rests_on(actions):
    """Beside the log a table is kept: what each version holds of our loads, and what came after."""
    log, states = Log().load(0), [("0", ())]
    for action, number in actions:
        mark, events = states[-1]
        version = len(states)
        match action:
            case "load":
                log.load(version)
                states.append((str(version), ()))
            case "other":
                log.load(version, node="lines")
                states.append((mark, ("adds", *events)))
            case "append":
                log.append()
                states.append((mark, ("adds", *events)))
            case "optimize":
                log.commit("OPTIMIZE", adds=True, removes=True)
                states.append((mark, events))
            case "delete":
                log.commit("DELETE", {"predicate": "id = 1"}, removes=True)
                states.append((mark, ("removes", *events)))
            case "overwrite":
                log.commit("WRITE", {"mode": "Overwrite"}, adds=True, removes=True)
                states.append((None, ("replaces", *events)))
            case "restore":
                log.restore(number % version)
                states.append(states[number % version])
            case "moment":
                log.restore_to(START + (number % version) * log.step)
                restored, earlier = states[number % version]
                states.append((restored, ("removes", *earlier)))
    found = log.walk()
    mark, events = states[-1]
    assert (found.loads[0].watermark.value.text if found.loads else None) == mark
    if mark is not None:
        assert tuple(event.effect for event in found.events) == events
    else:
        assert "replaces" in {event.effect for event in found.events}


def test_an_expired_log_gives_no_load_and_no_error():
    log = Log().load(1).append().append()
    assert log.walk(oldest=1).loads == ()


def test_time_cursors_need_one_load_only():
    log = Log(cursor=TIME)
    for day in range(1, 9):
        log.load(f"2024-06-{day:02d}")
    assert len(log.walk().loads) == 1


def test_cursors_that_count_need_a_load_that_had_settled():
    log = Log()
    for mark in range(30):
        log.load(mark)
    loads = log.walk().loads
    assert loads[0].asked_at - loads[-1].committed_at == SETTLED
    assert settled(loads) == loads[-1]
    assert settled(loads[:-1]) is None


def test_the_walk_ends_at_a_first_run_and_at_a_mark_set_by_hand():
    for kind in ("first_run", "full_reload", "mark"):
        log = Log().load(1).load(2, kind=kind).load(3).load(4)
        assert [load.kind for load in log.walk().loads] == ["incremental", "incremental", kind]


def test_a_backfill_has_not_seen_what_was_open_above_it():
    log = Log(step=timedelta(minutes=20)).load(1).load(2).load(2, kind="backfill")
    assert settled(log.walk().loads).version == 0


def test_a_load_that_took_long_settles_by_when_it_asked_and_not_by_when_it_committed():
    def at(minutes: float) -> datetime:
        return START + timedelta(minutes=minutes)

    early = a_record(version=1, committed_at=at(1), asked_at=at(0))
    slow = a_record(version=2, committed_at=at(40), asked_at=at(2))
    assert settled((slow, early)) is None
    assert settled((replace(slow, asked_at=at(11)), early)) == early


def test_a_load_that_does_not_say_when_it_asked_settles_nothing():
    old = a_record(version=1, committed_at=START - timedelta(days=1))
    assert settled((a_record(asked_at=None), old)) is None
    assert settled(()) is None


def test_a_merge_counts_the_rows_it_wrote_and_not_those_it_copied():
    from hwm_magics.core.commit_info import Written, written

    merge = {"num_target_rows_inserted": 2000, "num_target_rows_updated": 1000, "num_output_rows": 202000}
    assert written(merge) == Written(3000, 1000, None)
    assert written({"num_added_rows": 7, "num_added_files": 1}) == Written(7, None, 1)
    assert written({}) == Written(None, None, None)
