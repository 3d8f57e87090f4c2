"""The server: accepts connections, speaks TDS, and hands requests to sessions."""

from __future__ import annotations

import contextlib
import datetime as dt
import ipaddress
import queue
import re
import socket
import ssl
import struct
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from . import tokens as t
from .database import Database
from .engine import Cancelled, Done, Env, Event, Notice, ReturnValue, Rows, Session
from .faults import Drop, Failure, Faults, Request, known_error
from .packets import (
    EOM,
    IGNORE,
    RESET_CONNECTION,
    RESET_KEEP_TRAN,
    ConnectionDropped,
    Packet,
    PacketType,
    Reply,
    Transport,
)  # fmt: skip
from .types import COLLATION, SqlError, encoder, unsupported

PROGRAM = "Microsoft SQL Server"
MANY = 10_000
RUNS_SQL = ("sp_executesql", "sp_prepexec", "sp_execute")


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import rsa
    from cryptography.x509.oid import NameOID

    made = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    places = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(made.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName(places), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(made, hashes.SHA256())
    )
    certificate, key = folder / "server.crt", folder / "server.key"
    certificate.write_bytes(signed.public_bytes(serialization.Encoding.PEM))
    form = serialization.PrivateFormat.TraditionalOpenSSL
    plain = serialization.NoEncryption()
    key.write_bytes(made.private_bytes(serialization.Encoding.PEM, form, plain))
    return certificate, key


def connection_string(driver: str, port: int, user: str, password: str, **options: str) -> str:
    """An ODBC connection string, unencrypted unless the options say otherwise."""
    parts = {"DRIVER": f"{{{driver}}}", "SERVER": f"tcp:127.0.0.1,{port}", "DATABASE": "testdb",
             "UID": user, "PWD": f"{{{password}}}", "Encrypt": "no", **options}  # fmt: skip
    return ";".join(f"{key}={value}" for key, value in parts.items()) + ";"


class TdsServer:
    """A SQL Server look-alike on a loopback port.  A context manager.

    ``encryption``: ``"none"`` answers ENCRYPT_NOT_SUP; ``"optional"`` lets the client choose, with
    the login always encrypted; ``"required"`` insists.
    """

    def __init__(self, database: Database | None = None, *, port: int = 0, encryption: str = "none") -> None:
        self.database = database or Database()
        self.faults = Faults()
        self.requests: list[Request] = []
        self.replays = False  # whether long answers are made once, and sent again to who asks alike
        self.replayed: dict[str, list[bytes]] = {}
        self.encryption = encryption
        self.tls: ssl.SSLContext | None = None
        self.certificate: Path | None = None
        if encryption != "none":
            self._folder = tempfile.TemporaryDirectory(prefix="tds_facade")
            self.certificate, key = make_certificate(Path(self._folder.name))
            self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self.tls.load_cert_chain(self.certificate, key)
            self.tls.set_alpn_protocols(["tds/8.0"])
            self.tls.maximum_version = ssl.TLSVersion.TLSv1_2  # what TDS 7.4 knows
        self._listener = socket.create_server(("127.0.0.1", port))
        self.port: int = self._listener.getsockname()[1]
        self._connections: set[Connection] = set()
        threading.Thread(target=self._accept, name="tds-accept", daemon=True).start()

    def __enter__(self) -> TdsServer:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self._connections.add(connection)
            threading.Thread(target=connection.serve, name="tds-session", daemon=True).start()

    def forget(self, connection: Connection) -> None:
        """Called by a connection at its end."""
        self._connections.discard(connection)

    def disconnect_all(self) -> None:
        """Cut every open connection, as a restart would, and wait until their sessions end."""
        for connection in list(self._connections):
            connection.transport.close(reset=True)
        deadline = time.monotonic() + 5
        while self._connections and time.monotonic() < deadline:
            time.sleep(0.005)

    def close(self) -> None:
        """Stop accepting, cut every connection and close the database."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.disconnect_all()
        self.database.close()

    def odbc(self, driver: str, *, user: str = "sa", password: str = "Passw0rd!", **options: str) -> str:
        """An ODBC connection string; options come after, such as ``Encrypt="yes"``."""
        return connection_string(driver, self.port, user, password, **options)

    def clear(self) -> None:
        """Forget the requests received, the faults asked for, and rows to be sent again."""
        self.requests.clear()
        self.faults.clear()
        self.replays = False
        self.replayed.clear()

    def replay(self) -> None:
        """From now on send a statement's answer, if it is long, as it was sent before; for tables that stay."""
        self.replays = True

    def queries(self, contains: str = "") -> list[Request]:
        """The SQL requests received whose text contains a string (in any case)."""
        wanted = contains.lower()
        return [r for r in self.requests
                if r.kind in ("batch", "rpc") and wanted in r.text.lower()]  # fmt: skip

    def peak_memory(self) -> int:
        """The most memory this process has held, in MiB; only on Linux.

        What ``getrusage`` tells would begin with the peak of the process that started this one.
        """
        (peak,) = re.findall(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(peak) // 1024


class Connection:
    """One client: a reader thread feeds messages to the worker, so attention is seen at once."""

    session: Session

    def __init__(self, server: TdsServer, sock: socket.socket) -> None:
        self.server = server
        self.transport = Transport(sock)
        self._messages: queue.Queue[Packet | None] = queue.Queue(maxsize=8)

    def serve(self) -> None:
        """Run the connection to its end."""
        session: Session | None = None
        try:
            login = self._login()
            session = self._authenticate(login) if login is not None else None
            if session is not None:
                self.session = session
                threading.Thread(target=self._read, name="tds-reader", daemon=True).start()
                self._work()
        except ConnectionDropped:
            pass
        finally:
            self.transport.close()
            if session is not None:
                session.close()
            self.server.forget(self)

    # -- login ---------------------------------------------------------------------------------

    def _login(self) -> t.Login | None:
        transport, tls = self.transport, self.server.tls
        if transport.peek() == 0x16:  # a TLS hello before anything else: Encrypt=strict
            if tls is None:
                return None
            transport.start_tls(tls, strict=True)
        asked = t.parse_prelogin(transport.read_message().payload)
        wanted = asked.get(1, b"\2")[0]
        if transport.encrypted:
            answer = t.ENCRYPT_ON
        elif tls is None or (wanted == t.ENCRYPT_NOT_SUP and self.server.encryption == "optional"):
            answer = t.ENCRYPT_NOT_SUP
        elif wanted in (t.ENCRYPT_ON, t.ENCRYPT_REQ):
            answer = t.ENCRYPT_ON
        else:
            required = self.server.encryption == "required"
            answer = t.ENCRYPT_REQ if required else t.ENCRYPT_OFF
        version = struct.pack(">BBHH", *self.server.database.release, 0)
        options = {0: version, 1: bytes([answer]), 2: b"\0", 3: b"", 4: b"\0"}
        if 6 in asked:  # the client may bring a token, and is told that it may
            options[6] = b"\1"
        reply = Reply(transport)
        reply.write(t.build_prelogin(options))
        reply.finish()
        if tls is not None and not transport.encrypted and answer != t.ENCRYPT_NOT_SUP:
            transport.start_tls(tls, strict=False)
        message = transport.read_message()
        login = t.parse_login7(message.payload) if message.type == PacketType.LOGIN7 else None
        if login is not None:
            login.encrypted = transport.encrypted
        if answer == t.ENCRYPT_OFF:
            transport.stop_tls()
        return login

    def _authenticate(self, login: t.Login) -> Session | None:
        database = self.server.database
        record = Request("login", 0, login.user, login.app, encrypted=login.encrypted)
        record.read_only, record.integrated = login.read_only, login.integrated
        record.token = login.token
        self.server.requests.append(record)
        refused, number = self.server.faults.take_refusal()
        if refused and number is None:
            self.transport.close(reset=True)
            return None
        error: SqlError | None = None
        if refused:
            error = known_error(number or 0, user=login.user, spid=0)
        elif login.token is not None:
            if login.token not in database.tokens:
                error = known_error(18456, user="<token-identified principal>")
        elif login.integrated or t.FEATURE_FEDAUTH in login.features:
            error = unsupported("integrated or federated authentication")
        elif database.users.get(login.user) != login.password:
            error = known_error(18456, user=login.user)
        elif login.database.lower() not in ("", "master", database.name.lower()):
            text = f'Cannot open database "{login.database}" requested by the login.'
            error = SqlError(4060, f"{text} The login failed.", severity=11)
        reply = Reply(self.transport)
        if error is not None:
            record.error = error.number
            reply.write(_error(error) + t.done(t.DONE, t.DONE_ERROR))
            reply.finish()
            return None
        session = Session(database, login.user, login.host, login.app)
        session.database = login.database or database.name
        self.transport.spid = record.spid = session.spid
        size = min(max(login.packet_size or 4096, 512), 32767)
        version = t.TDS_80 if login.tds_version == t.TDS_80 else t.TDS_74
        reply.write(t.env_change(t.ENV_DATABASE, session.database, "master"))
        reply.write(t.message(5701, f"Changed database context to '{session.database}'.", 0, 2))
        reply.write(t.env_change(t.ENV_COLLATION, COLLATION, b""))
        reply.write(t.env_change(t.ENV_LANGUAGE, "us_english", ""))
        reply.write(t.message(5703, "Changed language setting to us_english.", 0))
        reply.write(t.login_ack(version, PROGRAM, database.release))
        reply.write(t.env_change(t.ENV_PACKET_SIZE, str(size), "4096"))
        known = {t.FEATURE_UTF8: b"\1", t.FEATURE_FEDAUTH: b""}
        granted = {feature: answer for feature, answer in known.items() if feature in login.features}
        if granted:
            reply.write(t.feature_ack(granted))
        reply.write(t.done(t.DONE))
        reply.finish()
        self.transport.packet_size = size
        return session

    # -- the two threads -----------------------------------------------------------------------

    def _read(self) -> None:
        parts: list[bytes] = []
        try:
            while True:
                packet = self.transport.read_packet()
                if packet.type == PacketType.ATTENTION:
                    self._messages.put(packet._replace(status=self.session.cancel()))
                    continue
                parts.append(packet.payload)
                if packet.status & EOM:
                    if not packet.status & IGNORE:
                        self._messages.put(packet._replace(payload=b"".join(parts)))
                    parts = []
        except ConnectionDropped:
            self.session.cancel(gone=True)
            self._messages.put(None)

    def _work(self) -> None:
        while (message := self._messages.get()) is not None:
            self.transport.packet_delay = self.server.faults.packet_delay
            reply = Reply(self.transport)
            if message.type == PacketType.ATTENTION:
                if message.status > self.session.acknowledged:  # no request saw it
                    self._acknowledge(reply, message.status)
            else:
                try:
                    if message.status & (RESET_CONNECTION | RESET_KEEP_TRAN):
                        self._send(reply, self.session.reset())
                        reply.write(t.env_change(t.ENV_RESET_ACK, b"", b""))
                    self._answer(message, reply)
                except Cancelled:
                    self._send(reply, self.session.settle())
                    self._acknowledge(reply, self.session.attentions)
            reply.finish()

    def _acknowledge(self, reply: Reply, number: int) -> None:
        self.session.acknowledged = number
        self.server.requests.append(Request("attention", self.session.spid))
        reply.write(t.done(t.DONE, t.DONE_ERROR | t.DONE_MORE) + t.done(t.DONE, t.DONE_ATTN))

    # -- requests ------------------------------------------------------------------------------

    def _answer(self, message: Packet, reply: Reply) -> None:
        session, payload = self.session, message.payload
        try:
            if message.type == PacketType.SQL_BATCH:
                text = payload[t.skip_headers(payload) :].decode("utf-16-le")
                self._run(Request("batch", session.spid, text), session.run(text), reply, t.DONE)
            elif message.type == PacketType.RPC:
                calls = t.parse_rpc(payload)
                for i, call in enumerate(calls):
                    text, params = session.shown(call)
                    request = Request("rpc", session.spid, text, call.name, params)
                    more = t.DONE_MORE if i + 1 < len(calls) else 0
                    self._run(request, session.call(call), reply, t.DONEPROC, more)
            elif message.type == PacketType.TRANSACTION:
                asked = t.parse_transaction(payload)
                request = Request("transaction", session.spid, asked[0])
                self._run(request, self._transaction(*asked), reply, t.DONE)
            else:
                raise unsupported(f"TDS message type {message.type}")
        except SqlError as error:  # before anything could run
            reply.write(_error(error) + t.done(t.DONE, t.DONE_ERROR))

    def _transaction(self, verb: str, isolation: int, again: bool) -> Iterator[Event]:
        session = self.session
        session.isolation = isolation or session.isolation
        if verb == "commit" and session.trancount:
            yield from session.commit()
        elif verb == "rollback":
            yield from session.rollback()
        if verb == "begin" or again:
            yield from session.begin()

    def _run(
        self, request: Request, events: Iterator[Event], reply: Reply, token: int, more: int = 0
    ) -> None:
        """Send what a request yields; a statement's DONE waits until it is known to be the last."""
        session = self.session
        self.server.requests.append(request)
        request.encrypted = self.transport.encrypted
        key = f"{request.kind} {request.text} {[param.raw for param in request.params]}"
        if self.server.replays:
            if key in self.server.replayed:
                for part in self.server.replayed[key]:
                    reply.write(part)
                return
            reply.kept = []
        failure: Failure | None = None
        if request.kind == "batch" or request.proc in RUNS_SQL:
            failure = self.server.faults.take_failure(request.text)
        outputs: list[ReturnValue] = []
        held: Done | None = None
        status = 0

        def release(finished: Done | None) -> None:
            if finished is not None:
                inner = t.DONEINPROC if token == t.DONEPROC else t.DONE
                reply.write(t.done(inner, t.DONE_MORE | self._in_transaction(), *finished))

        try:
            if failure is not None and not failure.after_rows:
                raise self._failed(failure)
            for event in events:
                release(held)
                held = event if isinstance(event, Done) else None
                if isinstance(event, ReturnValue):
                    outputs.append(event)
                elif isinstance(event, Rows):
                    self._rows(reply, event, request, failure)
                elif held is None:
                    self._send(reply, iter([event]))
        except Exception as raised:
            if isinstance(raised, ConnectionDropped | Cancelled):
                raise
            error = raised if isinstance(raised, SqlError) else unsupported(f"this; {raised!r}")
            release(held)
            held, request.error, status = None, error.number, t.DONE_ERROR
            session.broken |= error.number == 1205 or error.severity >= 20
            self._send(reply, session.settle())
            reply.write(_error(error))
        if token == t.DONEPROC:
            release(held)
            held = None
            reply.write(t.return_status(1 if status else 0))
            for i, output in enumerate(outputs):
                encoded = encoder(output.type)([output.value])[0]
                reply.write(t.return_value(output.name, output.type, encoded, i))
        reply.write(t.done(token, status | more | self._in_transaction(), *(held or Done())))
        if reply.kept is not None and request.rows >= MANY and not status:
            self.server.replayed[key] = reply.kept
        reply.kept = None

    def _failed(self, failure: Failure) -> SqlError:
        session = self.session
        return known_error(failure.number, failure.text, spid=session.spid, user=session.user)

    def _in_transaction(self) -> int:
        return t.DONE_INXACT if self.session.trancount else 0

    def _send(self, reply: Reply, events: Iterator[Event]) -> None:
        for event in events:
            if isinstance(event, Env):
                reply.write(t.env_change(event.kind, event.new, event.old))
            elif isinstance(event, Notice):
                reply.write(t.message(event.number, event.text, event.severity, event.state))

    def _rows(self, reply: Reply, rows: Rows, request: Request, failure: Failure | None) -> None:
        reply.write(t.col_metadata(rows.columns))
        encoders = [encoder(column.type, column.nullable) for column in rows.columns]
        drop: Drop | None = self.server.faults.take_drop()
        stop = drop if drop is not None else failure
        for batch in rows.batches:
            columns = [encode(values) for encode, values in zip(encoders, zip(*batch))]
            lines = [b"\xd1" + b"".join(cells) for cells in zip(*columns)]
            inside = drop is not None and drop.mid_row
            if stop is not None and request.rows + len(lines) >= stop.after_rows + inside:
                cut = stop.after_rows - request.rows
                reply.write(b"".join(lines[:cut]) + (lines[cut][:-1] if inside else b""))
                request.rows += cut
                if drop is None:
                    assert failure is not None
                    raise self._failed(failure)
                reply.flush()
                self.transport.close(reset=drop.reset)
                raise ConnectionDropped("fault: drop_after_rows")
            request.rows += len(lines)
            reply.write(b"".join(lines))
        if drop is not None:
            self.server.faults.put_back(drop)


def _error(error: SqlError) -> bytes:
    return t.message(error.number, error.text, error.severity, error.state)
