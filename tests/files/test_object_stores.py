"""Files on S3, as a real server of its protocol gives them."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake
from servers import missing

import hwm_magics
from hwm_magics.errors import BlockedError, QueryError, SourceConnectionError

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def server():
    """The address of an S3 server with a bucket."""
    program = Path(os.environ.get("HWM_MOTO_SERVER") or ROOT / ".venv-moto" / "bin" / "moto_server")
    if not program.exists():
        missing("moto")
    port = free_port()
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([program, "-H", "127.0.0.1", "-p", str(port)], **quiet) as process:
        while process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
        process.terminate()


@pytest.fixture
def store(server):
    """The bucket, emptied."""
    files = pafs.S3FileSystem(
        access_key="a",
        secret_key="b",
        endpoint_override=server,
        scheme="http",
        region="us-east-1",
        allow_bucket_creation=True,
    )
    files.create_dir("landing")
    files.delete_dir_contents("landing", missing_dir_ok=True)
    return files


def put(store, path, text):
    with store.open_output_stream(f"landing/{path}") as file:
        file.write(text if isinstance(text, bytes) else text.encode())


def connections(server, root):
    s3 = {
        "type": "s3",
        "bucket": "landing",
        "region": "us-east-1",
        "access_key_id": "a",
        "secret_access_key": "b",
        "endpoint": f"http://{server}",
        "allow_http": True,
    }
    return {"landing": {**s3, "root": root}, "lake": {**s3, "root": "lake"}}


def spec(path="orders/*.csv", **options):
    read = {"connection": "landing", "path": path, "options": {"settle": "0s", **options}}
    return {"read": read, "write": {"connection": "lake", "path": "t"}}


def test_files_of_a_bucket_are_loaded_once_into_a_table_beside_them(server, store):
    given = {"connections": connections(server, "in/here"), "engine": "pandas"}
    put(store, "in/here/orders/a.csv", "id\n1\n")
    put(store, "in/here/orders/_b.csv", "id\n9\n")
    put(store, "in/here/orders/deep/c.csv", "id\n9\n")
    put(store, "in/here/orders2/d.csv", "id\n9\n")
    put(store, "outside.csv", "id\n9\n")
    assert hwm_magics.load(spec(), **given).rows_written == 1
    put(store, "in/here/orders/b.csv", "id\n2\n")
    assert hwm_magics.load(spec(), **given).rows_written == 1
    assert hwm_magics.plan(spec(), **given).decision == "NO CHANGES"
    put(store, "in/here/orders/b.csv", "id\n2\n3\n")
    with pytest.raises(BlockedError, match=r"changed since loaded: orders/b\.csv"):
        hwm_magics.load(spec(), **given)


def test_what_is_not_there_and_what_cannot_be_reached_differ(server, store):
    given = {"connections": connections(server, "in"), "engine": "pandas"}
    with pytest.raises(QueryError, match="no file matches"):
        hwm_magics.plan(spec(), **given)
    gone = {**given["connections"], "lake": {"type": "local", "root": "/nonexistent"}}
    gone["landing"] = {**gone["landing"], "endpoint": f"http://127.0.0.1:{free_port()}"}
    with pytest.raises(SourceConnectionError, match="listing files in s3://landing/in failed"):
        hwm_magics.plan(spec(), connections=gone, engine="pandas")


def test_parquet_files_are_read_from_their_ends_and_young_ones_wait(server, store):
    given = {"connections": connections(server, "in"), "engine": "pandas"}
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": [1, 2], "at": [1, 2]}), sink)
    put(store, "in/p/2024/a.parquet", sink.getvalue().to_pybytes())
    young = spec("p/**/*.parquet", settle="1h")
    with pytest.raises(QueryError, match="can be read yet"):
        hwm_magics.plan(young, **given)
    whole = spec("p/**/*.parquet")
    whole["read"]["incremental"] = {"column": "at"}
    assert hwm_magics.load(whole, **given).rows_written == 2
    assert hwm_magics.load(whole, **given).status == "nothing_new"


def test_versions_of_a_table_in_a_bucket_are_loaded_once(server, store):
    given = {"connections": connections(server, "in"), "engine": "pandas"}
    load = {
        "read": {"connection": "landing", "format": "delta", "path": "./raw//t/"},
        "write": {"connection": "lake", "path": "t"},
    }
    options = {
        "AWS_ENDPOINT_URL": f"http://{server}",
        "AWS_REGION": "us-east-1",
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "b",
        "AWS_ALLOW_HTTP": "true",
        "AWS_S3_ALLOW_UNSAFE_RENAME": "true",
    }

    def append(*numbers):
        rows = pa.table({"id": numbers, "part": [f"a b/{number % 2}%" for number in numbers]})
        write_deltalake(
            "s3://landing/in/raw/t", rows, mode="append", partition_by="part", storage_options=options
        )

    append(1)
    assert hwm_magics.load(load, **given).rows_written == 1
    for number in range(2, 6):
        append(number)
    DeltaTable("s3://landing/in/raw/t", storage_options=options).optimize.compact()
    assert hwm_magics.load(load, **given).rows_written == 4
    assert hwm_magics.load(load, **given).status == "nothing_new"
    append(6)
    append(7)
    DeltaTable("s3://landing/in/raw/t", storage_options=options).create_checkpoint()
    store.delete_file("landing/in/raw/t/_delta_log/00000000000000000006.json")
    with pytest.raises(BlockedError, match="no longer tells of version 6, and version 5 was loaded last"):
        hwm_magics.load(load, **given)
    found = DeltaTable("s3://landing/lake/t", storage_options=options).to_pyarrow_table()
    assert sorted(zip(*found.to_pydict().values(), strict=True)) == [
        (n, f"a b/{n % 2}%") for n in range(1, 6)
    ]
