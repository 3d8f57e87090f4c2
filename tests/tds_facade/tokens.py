"""Token and message layouts of TDS 7.4: what a client sends and what a server answers."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .types import TEMPORAL, SqlType, read_typed, to_text, type_info, unsupported

TDS_74 = 0x74000004
TDS_80 = 0x08000000
DONE_MORE, DONE_ERROR, DONE_INXACT, DONE_COUNT, DONE_ATTN = 0x01, 0x02, 0x04, 0x10, 0x20
DONE, DONEPROC, DONEINPROC = 0xFD, 0xFE, 0xFF

ENV_DATABASE, ENV_LANGUAGE, ENV_PACKET_SIZE, ENV_COLLATION = 1, 2, 4, 7
ENV_BEGIN, ENV_COMMIT, ENV_ROLLBACK, ENV_RESET_ACK = 8, 9, 10, 18

FEATURE_FEDAUTH, FEATURE_UTF8 = 0x02, 0x0A
ENCRYPT_OFF, ENCRYPT_ON, ENCRYPT_NOT_SUP, ENCRYPT_REQ = 0, 1, 2, 3

PROC_NAMES = {
    1: "sp_cursor", 2: "sp_cursoropen", 3: "sp_cursorprepare", 4: "sp_cursorexecute",
    5: "sp_cursorprepexec", 6: "sp_cursorunprepare", 7: "sp_cursorfetch", 8: "sp_cursoroption",
    9: "sp_cursorclose", 10: "sp_executesql", 11: "sp_prepare", 12: "sp_execute",
    13: "sp_prepexec", 14: "sp_prepexecrpc", 15: "sp_unprepare",
}  # fmt: skip


# -- what the client sends -----------------------------------------------------------------------


def parse_prelogin(data: bytes) -> dict[int, bytes]:
    """The options of a PRELOGIN message, by token."""
    options: dict[int, bytes] = {}
    position = 0
    while data[position] != 0xFF:
        token, offset, length = struct.unpack_from(">BHH", data, position)
        options[token] = data[offset : offset + length]
        position += 5
    return options


def build_prelogin(options: dict[int, bytes]) -> bytes:
    """A PRELOGIN message with these options."""
    offset = 5 * len(options) + 1
    head, body = b"", b""
    for token, value in options.items():
        head += struct.pack(">BHH", token, offset + len(body), len(value))
        body += value
    return head + b"\xff" + body


@dataclass
class Login:
    """What a LOGIN7 message says."""

    tds_version: int
    packet_size: int
    host: str
    user: str
    password: str
    app: str
    server: str
    library: str
    language: str
    database: str
    integrated: bool
    read_only: bool
    features: dict[int, bytes]
    encrypted: bool = False

    @property
    def token(self) -> str | None:
        """The access token of a federated login that brings one."""
        data = self.features.get(FEATURE_FEDAUTH, b"")
        if not data or data[0] >> 1 != 1:  # another library than "security token"
            return None
        (length,) = struct.unpack_from("<I", data, 1)
        return data[5 : 5 + length].decode("utf-16-le")


def parse_login7(data: bytes) -> Login:
    """Parse a LOGIN7 message."""
    version, packet_size = struct.unpack_from("<II", data, 4)
    flags2, type_flags, flags3 = data[25], data[26], data[27]

    def part(index: int) -> bytes:
        offset, length = struct.unpack_from("<HH", data, 36 + 4 * index)
        size = length if index == 5 else length * 2
        return data[offset : offset + size]

    def text(index: int) -> str:
        return part(index).decode("utf-16-le")

    password = bytes((((byte ^ 0xA5) << 4) & 0xF0) | ((byte ^ 0xA5) >> 4) for byte in part(2)).decode(
        "utf-16-le", "replace"
    )
    # The variable block lists: host, user, password, app, server, extension, library, language,
    # database.
    features: dict[int, bytes] = {}
    if flags3 & 0x10:
        (position,) = struct.unpack("<I", part(5)[:4])
        while data[position] != 0xFF:
            feature, length = struct.unpack_from("<BI", data, position)
            features[feature] = data[position + 5 : position + 5 + length]
            position += 5 + length
    return Login(
        tds_version=version, packet_size=packet_size, host=text(0), user=text(1),
        password=password, app=text(3), server=text(4), library=text(6), language=text(7),
        database=text(8), integrated=bool(flags2 & 0x80), read_only=bool(type_flags & 0x20),
        features=features,
    )  # fmt: skip


def skip_headers(data: bytes) -> int:
    """The length of the ALL_HEADERS block that opens a request."""
    (total,) = struct.unpack_from("<I", data)
    return int(total)


@dataclass
class Param:
    """One bound parameter, as it came over the wire.

    ``declared`` is the type in the statement's parameter list (``@P1 datetime2`` means
    ``datetime2(7)``), where there is one; ``wire_type`` is that of the value sent for it.
    """

    name: str
    type: SqlType
    raw: object  # in storage form
    output: bool = False
    declared: str = ""

    @property
    def wire_type(self) -> str:
        """The type of the value as sent, such as ``datetime2(6)``."""
        return str(self.type)

    @property
    def value(self) -> object:
        """The value: temporal ones as exact text, the rest as Python has them."""
        if self.raw is None or self.type.name not in TEMPORAL:
            return self.raw
        return to_text(self.raw, self.type)


@dataclass
class RpcCall:
    """One remote procedure call."""

    proc: str
    params: list[Param]

    @property
    def name(self) -> str:
        """The procedure's name alone, in lower case."""
        return self.proc.lower().replace("[", "").replace("]", "").split(".")[-1]

    def argument(self, index: int, name: str) -> object:
        """A parameter's value by name (with the @) or else by position; None when absent."""
        for param in self.params:
            if param.name.lower() == name.lower():
                return param.raw
        unnamed = [param for param in self.params if not param.name]
        return unnamed[index].raw if index < len(unnamed) else None


def parse_rpc(data: bytes) -> list[RpcCall]:
    """Parse an RPC message: one or more calls."""
    position = skip_headers(data)
    calls: list[RpcCall] = []
    while position < len(data):
        (length,) = struct.unpack_from("<H", data, position)
        position += 2
        if length == 0xFFFF:
            (number,) = struct.unpack_from("<H", data, position)
            position += 2
            proc = PROC_NAMES.get(number, f"#{number}")
        else:
            proc = data[position : position + 2 * length].decode("utf-16-le")
            position += 2 * length
        position += 2  # option flags
        params: list[Param] = []
        while position < len(data) and data[position] not in (0xFF, 0xFE, 0x80):
            size = data[position]
            name = data[position + 1 : position + 1 + 2 * size].decode("utf-16-le")
            position += 1 + 2 * size
            status = data[position]
            sql_type, value, position = read_typed(data, position + 1)
            params.append(Param(name, sql_type, value, bool(status & 1)))
        position += 1  # the batch separator, when another call follows
        calls.append(RpcCall(proc, params))
    return calls


def parse_transaction(data: bytes) -> tuple[str, int, bool]:
    """A transaction manager request: its verb, an isolation level, whether to begin another."""
    at = skip_headers(data)
    (kind,) = struct.unpack_from("<H", data, at)
    verb = {5: "begin", 7: "commit", 8: "rollback", 9: "save"}.get(kind)
    if verb is None:
        raise unsupported(f"transaction request {kind} (distributed transactions)")
    if verb == "begin":
        return verb, data[at + 2], False
    flags = at + 3 + data[at + 2] * 2
    return verb, 0, len(data) > flags and bool(data[flags] & 1)


# -- what the server answers ---------------------------------------------------------------------


def b_varchar(text: str) -> bytes:
    """A string with a one-byte length in characters."""
    raw = text.encode("utf-16-le")[:510]
    return bytes([len(raw) // 2]) + raw


def login_ack(version: int, program: str, release: tuple[int, int, int]) -> bytes:
    """LOGINACK."""
    major, minor, build = release
    body = b"\x01" + struct.pack(">I", version) + b_varchar(program)
    body += struct.pack(">BBH", major, minor, build)
    return b"\xad" + struct.pack("<H", len(body)) + body


def env_change(kind: int, new: str | bytes, old: str | bytes = "") -> bytes:
    """ENVCHANGE; text values as B_VARCHAR, bytes values as B_VARBYTE."""

    def value(item: str | bytes) -> bytes:
        if isinstance(item, bytes):
            return bytes([len(item)]) + item
        return b_varchar(item)

    body = bytes([kind]) + value(new) + value(old)
    return b"\xe3" + struct.pack("<H", len(body)) + body


def message(number: int, text: str, severity: int = 16, state: int = 1) -> bytes:
    """ERROR (severity above 10) or INFO."""
    raw = text.encode("utf-16-le")
    body = struct.pack("<iBBH", number, state, severity, len(raw) // 2) + raw
    body += b_varchar("tds_facade") + b_varchar("") + struct.pack("<I", 1)
    return (b"\xaa" if severity > 10 else b"\xab") + struct.pack("<H", len(body)) + body


def done(token: int, status: int = 0, rows: int | None = None, command: int = 0) -> bytes:
    """DONE, DONEPROC or DONEINPROC; ``command`` is 0xC1 and up for SELECT, INSERT and so on."""
    if rows is not None:
        status |= DONE_COUNT
    return struct.pack("<BHHQ", token, status, command, rows or 0)


def return_status(value: int = 0) -> bytes:
    """RETURNSTATUS."""
    return b"\x79" + struct.pack("<i", value)


def return_value(name: str, sql_type: SqlType, encoded: bytes, ordinal: int = 0) -> bytes:
    """RETURNVALUE, for an output parameter."""
    head = b"\xac" + struct.pack("<H", ordinal) + b_varchar(name)
    return head + b"\x01" + struct.pack("<IH", 0, 0) + type_info(sql_type) + encoded


@dataclass(frozen=True)
class Column:
    """One column of a result set."""

    name: str
    type: SqlType
    nullable: bool = True
    identity: bool = False


def col_metadata(columns: Sequence[Column]) -> bytes:
    """COLMETADATA."""
    out = [b"\x81", struct.pack("<H", len(columns))]
    for column in columns:
        flags = (1 if column.nullable else 0) | 0x08 | (0x10 if column.identity else 0)
        user_type = 80 if column.type.name == "rowversion" else 0
        out.append(struct.pack("<IH", user_type, flags))
        out.append(type_info(column.type, column.nullable) + b_varchar(column.name))
    return b"".join(out)


def feature_ack(features: dict[int, bytes]) -> bytes:
    """FEATUREEXTACK."""
    out = b"\xae"
    for feature, data in features.items():
        out += struct.pack("<BI", feature, len(data)) + data
    return out + b"\xff"
