"""What a server says of itself: system functions, sys.* and INFORMATION_SCHEMA, and the procedures
by which drivers ask for types and descriptions.  SQLAlchemy's reflection needs most of the tables.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from .database import ColumnDef, TableDef, max_length, parse_column
from .types import CHARACTER, EXACT, INTEGERS, TEMPORAL, SqlError, SqlType, type_info

if TYPE_CHECKING:
    from .engine import Session
    from .tokens import RpcCall

Row = tuple[object, ...]
Table = tuple[list[ColumnDef], Sequence[Row]]
INT, TINYINT, SMALLINT = SqlType("int"), SqlType("tinyint"), SqlType("smallint")
NAME, TEXT = SqlType("nvarchar", length=128), SqlType("nvarchar", length=4000)
NUMERIC, ROWVERSION = SqlType("numeric", precision=38), SqlType("rowversion")
DATETIME, DATETIME2 = SqlType("datetime"), SqlType("datetime2", scale=7)
DATETIMEOFFSET = SqlType("datetimeoffset", scale=7)
COLLATION_NAME = "SQL_Latin1_General_CP1_CI_AS"

# name: (system_type_id, ODBC type, precision, literal prefix and suffix, parameters, largest scale)
TYPES: dict[str, tuple[int, int, int, str | None, str | None, str | None, int | None]] = {
    "uniqueidentifier": (36, -11, 36, "'", "'", None, None),
    "nvarchar": (231, -9, 4000, "N'", "'", "max length", None),
    "nchar": (239, -8, 4000, "N'", "'", "length", None),
    "bit": (104, -7, 1, None, None, None, 0),
    "tinyint": (48, -6, 3, None, None, None, 0),
    "bigint": (127, -5, 19, None, None, None, 0),
    "varbinary": (165, -3, 8000, "0x", None, "max length", None),
    "binary": (173, -2, 8000, "0x", None, "length", None),
    "rowversion": (189, -2, 8, "0x", None, None, None),
    "char": (175, 1, 8000, "'", "'", "length", None),
    "numeric": (108, 2, 38, None, None, "precision,scale", 38),
    "decimal": (106, 3, 38, None, None, "precision,scale", 38),
    "money": (60, 3, 19, "$", None, None, 4),
    "smallmoney": (122, 3, 10, "$", None, None, 4),
    "int": (56, 4, 10, None, None, None, 0),
    "smallint": (52, 5, 5, None, None, None, 0),
    "float": (62, 6, 53, None, None, None, None),
    "real": (59, 7, 24, None, None, None, None),
    "varchar": (167, 12, 8000, "'", "'", "max length", None),
    "date": (40, 91, 10, "'", "'", None, 0),
    "time": (41, -154, 16, "'", "'", "scale", 7),
    "datetime2": (42, 93, 27, "'", "'", "scale", 7),  # before datetime: drivers take the first
    "datetime": (61, 93, 23, "'", "'", None, 3),
    "smalldatetime": (58, 93, 16, "'", "'", None, 0),
    "datetimeoffset": (43, -155, 34, "'", "'", "scale", 7),
}


def shown_name(kind: SqlType) -> str:
    """The name SQL Server lists a type under."""
    return "timestamp" if kind.name == "rowversion" else kind.name


def _precision(kind: SqlType) -> tuple[int, int]:
    """``sys.columns.precision`` and ``scale``."""
    if kind.name in ("decimal", "numeric"):
        return kind.precision, kind.scale
    if kind.name in TEMPORAL:
        return TYPES[kind.name][2], {"datetime": 3}.get(kind.name, kind.scale)
    _, _, precision, prefix, _, _, scale = TYPES[kind.name]
    return (precision, scale or 0) if prefix in (None, "$") else (0, 0)


# -- functions -----------------------------------------------------------------------------------

_VALUES: dict[str, tuple[SqlType, Callable[[Session], object]]] = {
    "@@spid": (SMALLINT, lambda s: s.spid),
    "@@trancount": (INT, lambda s: s.trancount),
    "@@rowcount": (INT, lambda s: s.rowcount),
    "rowcount_big": (SqlType("bigint"), lambda s: s.rowcount),
    "@@error": (INT, lambda s: 0),
    "@@identity": (NUMERIC, lambda s: s.identity),
    "scope_identity": (NUMERIC, lambda s: s.identity),
    "@@version": (TEXT, lambda s: f"Microsoft SQL Server 2022 - {s.db.product_version}"),
    "@@servername": (NAME, lambda s: s.db.server_name),
    "@@language": (NAME, lambda s: "us_english"),
    "@@max_precision": (TINYINT, lambda s: 38),
    "@@datefirst": (TINYINT, lambda s: 7),
    "@@lock_timeout": (INT, lambda s: -1),
    "@@options": (INT, lambda s: 5496),
    "xact_state": (SMALLINT, lambda s: int(s.trancount > 0)),
    "schema_name": (NAME, lambda s: "dbo"),
    "db_name": (NAME, lambda s: s.database),
    "db_id": (SMALLINT, lambda s: 5),
    "user_name": (NAME, lambda s: "dbo"),
    "current_user": (NAME, lambda s: "dbo"),
    "suser_name": (NAME, lambda s: s.user),
    "suser_sname": (NAME, lambda s: s.user),
    "system_user": (NAME, lambda s: s.user),
    "host_name": (NAME, lambda s: s.host),
    "app_name": (NAME, lambda s: s.app),
    "getdate": (DATETIME, lambda s: s.now(DATETIME)),
    "current_timestamp": (DATETIME, lambda s: s.now(DATETIME)),
    "getutcdate": (DATETIME, lambda s: s.now(DATETIME)),
    "sysdatetime": (DATETIME2, lambda s: s.now(DATETIME2)),
    "sysutcdatetime": (DATETIME2, lambda s: s.now(DATETIME2)),
    "sysdatetimeoffset": (DATETIMEOFFSET, lambda s: s.now(DATETIMEOFFSET)),
    "@@dbts": (ROWVERSION, lambda s: s.db.row_version(0)),
    "min_active_rowversion": (ROWVERSION, lambda s: s.db.active_row_version()),
}


def value(session: Session, name: str, args: Sequence[object]) -> tuple[SqlType, object] | None:
    """The type and value of a system function or @@variable; None when it is not one."""
    if name == "serverproperty":
        properties: dict[str, object] = {
            "productversion": session.db.product_version,
            "productlevel": "RTM",
            "edition": "Developer Edition (64-bit)",
            "engineedition": 3,
            "collation": COLLATION_NAME,
            "servername": "tds_facade",
        }
        found = properties.get(str(args[0]).lower())
        return (INT if isinstance(found, int) else NAME), found
    if name == "change_tracking_min_valid_version":
        found_id = args[0] if args else None
        of = [t for t in session.db.tables.values() if t.object_id == found_id]
        kept = session.db.tracked.get(f"{of[0].schema}.{of[0].name}".lower()) if of else None
        return SqlType("bigint"), kept[0] if kept else None
    if name == "databasepropertyex" and len(args) == 2:
        asked = str(args[1]).lower()
        return NAME, (
            "READ_ONLY" if session.db.read_only else "READ_WRITE"
        ) if asked == "updateability" else None
    if name == "object_id" and args and isinstance(args[0], str):
        *owner, plain = (part.strip('[]"') for part in args[0].split("."))
        table_found = session.find_table(owner[-1] if owner else "dbo", plain)
        return INT, table_found.object_id if table_found else None
    if name not in _VALUES or (args and args[0] is None):  # of a column: not a constant
        return None
    kind, read = _VALUES[name]
    return kind, read(session)


# -- tables --------------------------------------------------------------------------------------


def _schema_id(session: Session, found: TableDef) -> int:
    return session.db.schemas.index(found.schema.lower()) + 1


def _objects(session: Session) -> list[Row]:
    return [
        (t.name, t.object_id, _schema_id(session, t), "U", "USER_TABLE", False)
        for t in session.db.tables.values()
    ]


def _sys_columns(session: Session) -> list[Row]:
    return [
        (t.object_id, c.name, i + 1, TYPES[c.type.name][0], TYPES[c.type.name][0],
         max_length(c.type), *_precision(c.type),
         COLLATION_NAME if c.type.name in CHARACTER else None, c.nullable, c.identity, False, 0)
        for t in session.db.tables.values() for i, c in enumerate(t.columns.values())
    ]  # fmt: skip


def _schema_columns(session: Session) -> list[Row]:
    rows: list[Row] = []
    for t in session.db.tables.values():
        for i, c in enumerate(t.columns.values()):
            precision, scale = _precision(c.type)
            number = c.type.name in EXACT or c.type.name in INTEGERS
            text = c.type.name in CHARACTER
            rows.append((
                session.db.name, t.schema, t.name, c.name, i + 1, "YES" if c.nullable else "NO",
                shown_name(c.type), c.type.length or None, precision if number else None,
                scale if number else None, scale if c.type.name in TEMPORAL else None,
                COLLATION_NAME if text else None))  # fmt: skip
    return rows


def _keys(session: Session) -> list[tuple[TableDef, list[int]]]:
    """Each table with a primary key, and the ordinals of its columns."""
    found = [
        (t, [i + 1 for i, c in enumerate(t.columns.values()) if c.primary_key])
        for t in session.db.tables.values()
    ]
    return [key for key in found if key[1]]


_OBJECT = (
    "name sysname; object_id int; schema_id int; type char(2); type_desc nvarchar(60); is_ms_shipped bit"
)
_NONE: Callable[[Session], list[Row]] = lambda s: []  # noqa: E731
_TABLES: dict[str, tuple[str, Callable[[Session], Sequence[Row]]]] = {
    "sys.schemas": (
        "name sysname; schema_id int; principal_id int",
        lambda s: [(name, i + 1, 1) for i, name in enumerate(s.db.schemas)],
    ),
    "sys.databases": (
        "name sysname; database_id int; state_desc nvarchar(60); group_database_id uniqueidentifier",
        lambda s: [("master", 1, "ONLINE", None), (s.db.name, 5, "ONLINE", s.db.group_id)],
    ),
    "sys.tables": (_OBJECT, _objects),
    "sys.objects": (_OBJECT, _objects),
    "sys.views": (_OBJECT, _NONE),
    "sys.synonyms": (_OBJECT, _NONE),
    "sys.columns": (
        "object_id int; name sysname; column_id int; system_type_id tinyint; user_type_id int; "
        "max_length smallint; precision tinyint; scale tinyint; collation_name sysname; "
        "is_nullable bit; is_identity bit; is_computed bit; default_object_id int",
        _sys_columns,
    ),
    "sys.types": (
        "name sysname; system_type_id tinyint; user_type_id int; is_user_defined bit",
        lambda s: [(shown_name(SqlType(n)), t[0], t[0], False) for n, t in TYPES.items()],
    ),
    "sys.identity_columns": (
        "object_id int; column_id int; name sysname; is_identity bit; seed_value int; "
        "increment_value int",
        lambda s: [
            (t.object_id, i + 1, c.name, True, 1, 1)
            for t in s.db.tables.values()
            for i, c in enumerate(t.columns.values())
            if c.identity
        ],
    ),
    "sys.key_constraints": (
        "name sysname; object_id int; schema_id int; parent_object_id int; type char(2); "
        "unique_index_id int",
        lambda s: [
            (f"PK_{t.name}", t.object_id + 1, _schema_id(s, t), t.object_id, "PK", 1)
            for t, _ in _keys(s)
        ],
    ),
    "sys.indexes": (
        "object_id int; name sysname; index_id int; type tinyint; is_unique bit; "
        "is_primary_key bit; filter_definition nvarchar(4000); has_filter bit; is_disabled bit",
        lambda s: [(t.object_id, f"PK_{t.name}", 1, 1, True, True, None, False, False) for t, _ in _keys(s)],
    ),
    "sys.index_columns": (
        "object_id int; index_id int; column_id int; key_ordinal tinyint; is_included_column bit",
        lambda s: [
            (t.object_id, 1, c, k + 1, False) for t, key in _keys(s) for k, c in enumerate(key)
        ],
    ),
    "sys.default_constraints": (
        "object_id int; parent_column_id int; definition nvarchar(4000)", _NONE),
    "sys.computed_columns": (
        "object_id int; column_id int; definition nvarchar(4000); is_persisted bit", _NONE),
    "sys.extended_properties": (
        "class tinyint; major_id int; minor_id int; name sysname; value nvarchar(4000)", _NONE),
    "sys.dm_exec_describe_first_result_set()": (
        "is_hidden bit; column_ordinal int; name sysname; is_nullable bit; system_type_id int; "
        "system_type_name nvarchar(256); max_length smallint; precision tinyint; scale tinyint; "
        "user_type_name sysname; error_number int; error_message nvarchar(4000)",
        _NONE,  # made of its arguments, in described()
    ),
    "sys.fn_listextendedproperty()": (
        "objtype sysname; objname sysname; name sysname; value nvarchar(4000)", _NONE),
    "sys.system_views": (
        "name sysname; object_id int", lambda s: [("dm_exec_sessions", -1)]),
    "sys.dm_exec_sessions": (
        "session_id smallint; login_name nvarchar(128); host_name nvarchar(128); "
        "program_name nvarchar(128); transaction_isolation_level smallint",
        lambda s: [
            (spid, x.user, x.host, x.app, x.isolation) for spid, x in list(s.db.sessions.items())
        ],
    ),
    "information_schema.tables": (
        "TABLE_CATALOG sysname; TABLE_SCHEMA sysname; TABLE_NAME sysname; TABLE_TYPE varchar(10)",
        lambda s: [(s.db.name, t.schema, t.name, "BASE TABLE") for t in s.db.tables.values()],
    ),
    "information_schema.columns": (
        "TABLE_CATALOG sysname; TABLE_SCHEMA sysname; TABLE_NAME sysname; COLUMN_NAME sysname; "
        "ORDINAL_POSITION int; IS_NULLABLE varchar(3); DATA_TYPE nvarchar(128); "
        "CHARACTER_MAXIMUM_LENGTH int; NUMERIC_PRECISION tinyint; NUMERIC_SCALE int; "
        "DATETIME_PRECISION smallint; COLLATION_NAME sysname",
        _schema_columns,
    ),
    "information_schema.referential_constraints": (
        "CONSTRAINT_SCHEMA sysname; CONSTRAINT_NAME sysname; UNIQUE_CONSTRAINT_SCHEMA sysname; "
        "UNIQUE_CONSTRAINT_NAME sysname; MATCH_OPTION varchar(7); UPDATE_RULE varchar(11); "
        "DELETE_RULE varchar(11)", _NONE),
    "information_schema.key_column_usage": (
        "CONSTRAINT_SCHEMA sysname; CONSTRAINT_NAME sysname; TABLE_SCHEMA sysname; "
        "TABLE_NAME sysname; COLUMN_NAME sysname; ORDINAL_POSITION int", _NONE),
}  # fmt: skip


def columns_of(text: str) -> list[ColumnDef]:
    """Columns from declarations separated by semicolons."""
    return [parse_column(*part.strip().split(" ", 1)) for part in text.split(";")]


def table(session: Session, schema: str, name: str) -> TableDef | None:
    """A system table; its rows are made when a query reads it."""
    found = _TABLES.get(f"{schema}.{name}")
    if found is None:
        return None
    text, rows = found
    columns = {column.name.lower(): column for column in columns_of(text)}
    return TableDef(schema, name, columns, rows=lambda: rows(session))


def changes(session: Session, name: str, since: object) -> TableDef | None:
    """CHANGETABLE(CHANGES name, since)."""
    found = session.db.table(name)
    kept = session.db.tracked.get(f"{found.schema}.{found.name}".lower())
    if kept is None:
        raise SqlError(22105, f"Change tracking is not enabled on table '{name}'.")
    keys = [f"{c.name} {c.type}" for c in found.columns.values() if c.primary_key]
    declared = "SYS_CHANGE_VERSION bigint; SYS_CHANGE_OPERATION nchar(1); " + "; ".join(keys)
    columns = {column.name.lower(): column for column in columns_of(declared)}
    rows = [row for row in kept[1] if since is None or int(str(row[0])) > int(str(since))]
    return TableDef("sys", "changes", columns, rows=lambda: rows)


def described(session: Session, text: str) -> list[Row]:
    """The rows of sys.dm_exec_describe_first_result_set for a batch."""
    try:
        columns = session.describe(text)
    except SqlError as error:
        return [(False, 0, None, None, None, None, None, None, None, None, error.number, error.text)]
    return [
        (False, i + 1, column.name, column.nullable, *_described(column.type), None, None, None)
        for i, column in enumerate(columns)
    ]


# -- procedures ----------------------------------------------------------------------------------


def datatype_info(rpc: RpcCall) -> Table:
    """The result of sp_datatype_info, from which pyodbc learns how to bind a datetime."""
    wanted = rpc.argument(0, "@data_type") or 0
    columns = columns_of(
        "TYPE_NAME sysname; DATA_TYPE smallint; PRECISION int; LITERAL_PREFIX varchar(32); "
        "LITERAL_SUFFIX varchar(32); CREATE_PARAMS varchar(32); NULLABLE smallint; "
        "CASE_SENSITIVE smallint; SEARCHABLE smallint; UNSIGNED_ATTRIBUTE smallint; "
        "MONEY smallint; AUTO_INCREMENT smallint; LOCAL_TYPE_NAME sysname; "
        "MINIMUM_SCALE smallint; MAXIMUM_SCALE smallint; SQL_DATA_TYPE smallint; "
        "SQL_DATETIME_SUB smallint; NUM_PREC_RADIX int; INTERVAL_PRECISION smallint; "
        "USERTYPE smallint"
    )
    rows: list[Row] = []
    for name, (_, odbc, precision, prefix, suffix, params, scale) in TYPES.items():
        if wanted not in (0, odbc):
            continue
        shown = shown_name(SqlType(name))
        number = name in INTEGERS or name in EXACT
        lowest = None if scale is None else 0
        rows.append((
            shown, odbc, precision, prefix, suffix, params, 1, 0, 3,
            int(name == "tinyint") if number else None, int("money" in name), 0, shown, lowest,
            scale, 9 if odbc in (91, 93) else odbc, {91: 1, 93: 3}.get(odbc),
            10 if number else None, None, 0))  # fmt: skip
    return columns, rows


def _described(kind: SqlType) -> Row:
    shown = str(kind).replace("rowversion", "timestamp")
    return TYPES[kind.name][0], shown, max_length(kind), *_precision(kind)


def _tds(kind: SqlType) -> tuple[int, int]:
    """The wire type and length by which a description names a type."""
    info = type_info(kind)
    if len(info) == 1:
        return info[0], 3
    wide = kind.name in CHARACTER or kind.name in ("binary", "varbinary", "rowversion")
    return info[0], int.from_bytes(info[1:3], "little") if wide else info[1]


def describe_parameters(kinds: list[tuple[str, SqlType]]) -> Table:
    """The result of sp_describe_undeclared_parameters."""
    columns = columns_of(
        "parameter_ordinal int; name sysname; suggested_system_type_id int; "
        "suggested_system_type_name nvarchar(256); suggested_max_length smallint; "
        "suggested_precision tinyint; suggested_scale tinyint; suggested_user_type_id int; "
        "suggested_user_type_database sysname; suggested_user_type_schema sysname; "
        "suggested_user_type_name sysname; suggested_assembly_qualified_type_name nvarchar(4000); "
        "suggested_xml_collection_id int; suggested_xml_collection_database sysname; "
        "suggested_xml_collection_schema sysname; suggested_xml_collection_name sysname; "
        "suggested_is_xml_document bit; suggested_is_case_sensitive bit; "
        "suggested_is_fixed_length_clr_type bit; suggested_is_input bit; suggested_is_output bit; "
        "formal_parameter_name sysname; suggested_tds_type_id int; suggested_tds_length int"
    )
    return columns, [
        (i + 1, name, *_described(kind), *[None] * 9, False, False, False, True, False, None,
         *_tds(kind))
        for i, (name, kind) in enumerate(kinds)
    ]  # fmt: skip
