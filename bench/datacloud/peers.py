"""Reading from Data Cloud the way Python users do: grpcio for the calls, pyarrow for the rows.

Usage: peers.py CASE WHERE, with the org in ORG and the client's proto file in PROTO. Prints one JSON object a measurement.
"""

import importlib
import json
import os
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import grpc
import pyarrow
import pyarrow.parquet
from grpc_tools import protoc

ARROW_IPC, SYNC, ADAPTIVE = 5, 2, 3
WHO = f"pyarrow {pyarrow.__version__} + grpcio {grpc.__version__}"
OPTIONS = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]


def stubs():
    """Python's own client for the proto file."""
    folder = tempfile.mkdtemp()
    proto = os.environ["PROTO"]
    include = os.path.join(os.path.dirname(protoc.__file__), "_proto")
    arguments = ["protoc", f"-I{os.path.dirname(proto)}", f"-I{include}", f"--python_out={folder}"]
    if protoc.main([*arguments, f"--grpc_python_out={folder}", proto]) != 0:
        sys.exit("the proto file cannot be compiled")
    sys.path.insert(0, folder)
    name = os.path.basename(proto).removesuffix(".proto")
    return importlib.import_module(f"{name}_pb2"), importlib.import_module(f"{name}_pb2_grpc")


pb, pb_grpc = stubs()


def token(org):
    """Both stages, by the access token that the org has given out."""
    fields = {
        "grant_type": "urn:salesforce:grant-type:external:cdp",
        "subject_token": org["access_token"],
        "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
    }
    body = urllib.parse.urlencode(fields).encode()
    with urllib.request.urlopen(f"{org['instance_url']}/services/a360/token", body) as answer:
        return json.load(answer)["access_token"]


class Parts:
    """The parts of one result as one file, as pyarrow reads a stream."""

    closed = False

    def __init__(self, stub, sql, mode, metadata):
        self.stub, self.metadata, self.mode = stub, metadata, mode
        parameters = pb.QueryParam(query=sql, output_format=ARROW_IPC, transfer_mode=mode)
        self.parts = self.generate(parameters)
        self.rest = memoryview(b"")

    def generate(self, parameters):
        status = None
        for message in self.stub.ExecuteQuery(parameters, metadata=self.metadata):
            if message.HasField("query_info"):
                status = message.query_info.query_status
            elif message.query_result.binary_part.data:
                yield message.query_result.binary_part.data
        if self.mode == SYNC:
            return
        metadata = (*self.metadata, ("x-hyperdb-query-id", status.query_id))
        chunk = 1
        while True:
            while chunk < status.chunk_count:
                wanted = pb.QueryResultParam(
                    query_id=status.query_id, output_format=ARROW_IPC, chunk_id=chunk, omit_schema=True
                )
                for message in self.stub.GetQueryResult(wanted, metadata=metadata):
                    yield message.binary_part.data
                chunk += 1
            if status.completion_status != 0:
                return
            info = pb.QueryInfoParam(query_id=status.query_id, streaming=True)
            for message in self.stub.GetQueryInfo(info, metadata=metadata):
                status = message.query_status
                if status.chunk_count > chunk or status.completion_status != 0:
                    break

    def read(self, size=-1):
        while len(self.rest) == 0:
            try:
                self.rest = memoryview(next(self.parts))
            except StopIteration:
                return b""
        piece, self.rest = self.rest[:size], self.rest[size:]
        missing = size - len(piece)
        if missing <= 0:
            return piece
        pieces = [piece]
        while missing > 0:
            more = self.read(missing)
            if len(more) == 0:
                break
            pieces.append(more)
            missing -= len(more)
        return b"".join(pieces)


def whole(stub, sql, mode, metadata):
    """The plain way: join all parts, read the table."""
    parts = list(Parts(stub, sql, mode, metadata).parts)
    return pyarrow.ipc.open_stream(b"".join(parts)).read_all()


def told(case, who, unit, value):
    print(json.dumps({"case": case, "who": who, "unit": unit, "value": value}), flush=True)


def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM:")) / 1024


def series(rows, salt):
    return (
        "SELECT g AS id, CAST(g * 1.5 AS DOUBLE PRECISION) AS v, 'name ' || g AS n "
        f"FROM generate_series({salt}, {salt + rows - 1}) g(g)"
    )


def main():
    case, where = sys.argv[1:]
    org = json.loads(os.environ["ORG"])
    url = org["engine"] if where == "direct" else org["datacloud_url"]
    metadata = () if where == "direct" else (("authorization", f"Bearer {token(org)}"),)
    stub = pb_grpc.HyperServiceStub(grpc.insecure_channel(url.removeprefix("http://"), options=OPTIONS))
    whole(stub, "SELECT 1", SYNC, metadata)
    salt = os.getpid()
    if case == "read":
        for number, (name, mode) in enumerate([("sync", SYNC), ("adaptive", ADAPTIVE)]):
            started = time.perf_counter()
            table = whole(stub, series(2_000_000, salt + number), mode, metadata)
            took = time.perf_counter() - started
            assert table.num_rows == 2_000_000
            told(f"read 2,000,000 rows, {where}", f"{WHO}, {name}", "ms", took * 1000)
    else:
        with tempfile.NamedTemporaryFile() as file:
            started = time.perf_counter()
            reader = pyarrow.ipc.open_stream(Parts(stub, series(10_000_000, salt), ADAPTIVE, metadata))
            count = 0
            with pyarrow.parquet.ParquetWriter(file.name, reader.schema, compression="snappy") as writer:
                for batch in reader:
                    writer.write_batch(batch)
                    count += batch.num_rows
            took = time.perf_counter() - started
            assert count == 10_000_000
            name = f"10,000,000 rows to Parquet, {where}"
            told(name, f"{WHO}, adaptive", "ms", took * 1000)
            told(name, f"{WHO}, adaptive", "rss_mb", peak())
            told(f"{name}: file", f"{WHO}, adaptive", "mb", os.path.getsize(file.name) / 1e6)


main()
