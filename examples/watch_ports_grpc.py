"""Watches the logical switch ports of a northbound database over gRPC.

usage: watch_ports_grpc.py TARGET [COUNT]

TARGET is such as unix:/var/run/ovn/weft-nb-grpc.sock or 10.0.0.1:6643. Prints a line for each port that appears (+),
changes (~) or goes (-), and ends after COUNT lines, if given.

The messages come from the server's reflection service, so nothing has to be generated beforehand. A program of some size
rather generates them from lib/rpc/proto.
"""

import sys

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from grpc_reflection.v1alpha.reflection_pb2 import ServerReflectionRequest, ServerReflectionResponse

TABLE = "Logical_Switch_Port"


def main():
    target, *count = sys.argv[1:]
    # For a Unix socket grpcio would take the path for the name of the host, which is none.
    channel = grpc.insecure_channel(target, options=[("grpc.default_authority", "localhost")])
    pool = DescriptorPool()
    describe(channel, pool, ServerReflectionRequest(file_containing_symbol="weft.db.v1.Database"))
    monitor = pool.FindServiceByName("weft.db.v1.Database").FindMethodByName("Monitor")
    request, response = (GetMessageClass(kind) for kind in (monitor.input_type, monitor.output_type))

    opening = request()
    opening.open.database = "OVN_Northbound"
    table = opening.open.tables.add(table=TABLE)
    table.columns.names.extend(["name", "up"])
    call = channel.stream_stream(
        "/weft.db.v1.Database/Monitor",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    ports, printed = {}, 0
    for update in call(iter([opening])):
        if update.reset:
            # The reader was too slow, or the server starts anew: this is the whole content.
            ports.clear()
        for row in (row for table in update.tables for row in table.rows):
            print(*apply(ports, row), flush=True)
            printed += 1
            if count and printed >= int(count[0]):
                return


def describe(channel, pool, request):
    """Asks the server for a file of definitions, and for those that it builds on."""
    # Version 1 has the messages of v1alpha, which is what the package brings.
    call = channel.stream_stream(
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        request_serializer=ServerReflectionRequest.SerializeToString,
        response_deserializer=ServerReflectionResponse.FromString,
    )
    answer = next(call(iter([request])))
    for text in answer.file_descriptor_response.file_descriptor_proto:
        file = FileDescriptorProto.FromString(text)
        for name in file.dependency:
            describe(channel, pool, ServerReflectionRequest(file_by_filename=name))
        pool.Add(file)


def apply(ports, row):
    """Takes one row's change into the copy: what to print of it."""
    if row.HasField("deleted"):
        name, up = ports.pop(row.uuid)
        return "-", name, up
    known = row.uuid in ports
    name, up = ports.get(row.uuid, ("", "down"))
    columns = (row.modified if known else row.inserted).columns
    if "name" in columns:
        name = columns["name"].scalar.string
    if "up" in columns:
        up = "up" if is_true(columns["up"]) else "down"
    ports[row.uuid] = (name, up)
    return "~" if known else "+", name, up


def is_true(datum):
    """An optional boolean: a scalar, or a set of none or one."""
    atoms = [datum.scalar] if datum.HasField("scalar") else datum.set.atoms
    return any(atom.boolean for atom in atoms)


main()
