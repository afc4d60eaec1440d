"""A small client of weft-api: declares a network, reads it back, follows its changes, and goes on after a pause.

usage: network_grpc.py GENERATED TARGET [TOKEN]

GENERATED is the folder with what grpcio-tools makes of the definitions:

    python -m grpc_tools.protoc -I lib/objects/proto --python_out=GENERATED --grpc_python_out=GENERATED \
        lib/objects/proto/weft/northbound/v1/objects.proto lib/objects/proto/weft/northbound/v1/northbound.proto

TARGET is such as unix:/var/run/ovn/weft-api-grpc.sock or 10.0.0.1:6650. Prints a line for each thing that it has done.
"""

import sys

import grpc


def main():
    generated, target, *token = sys.argv[1:]
    sys.path.insert(0, generated)
    from weft.northbound.v1 import northbound_pb2 as api
    from weft.northbound.v1 import northbound_pb2_grpc, objects_pb2 as objects

    # For a Unix socket grpcio would take the path for the name of the host, which is none.
    channel = grpc.insecure_channel(target, options=[("grpc.default_authority", "localhost")])
    weft = northbound_pb2_grpc.NorthboundStub(channel)
    metadata = [("authorization", f"Bearer {token[0]}")] if token else []

    def declare(addresses):
        port = objects.LogicalSwitchPort(logical_switch="python", addresses=addresses)
        return weft.Apply(
            api.ApplyRequest(
                owner="python",
                objects=[
                    objects.Object(name="python", logical_switch=objects.LogicalSwitch()),
                    objects.Object(name="python-vm1", logical_switch_port=port),
                ],
            ),
            metadata=metadata,
        )

    print("applied", len(declare([]).changes))
    print("applied again", len(declare([]).changes))

    kind = api.KIND_LOGICAL_SWITCH_PORT
    page = weft.List(api.ListRequest(kind=kind, owner="python"), metadata=metadata)
    print("listed", *[found.name for found in page.objects])

    # A watch tells what there is, and then what changes; its last version is where one goes on.
    def watch(version):
        return weft.Watch(api.WatchRequest(kinds=[kind], owner="python", version=version), metadata=metadata)

    watching = watch("")
    first = next(watching)
    print("watched", first.reset, *[found.name for found in first.changed])
    watching.cancel()
    declare(["02:00:00:00:00:01 192.0.2.1"])
    resumed = next(watch(first.version))
    changed = resumed.changed[0].logical_switch_port
    print("resumed", resumed.reset, *changed.addresses)

    try:
        weft.Get(api.GetRequest(kind=kind, name="nobody"), metadata=metadata)
    except grpc.RpcError as error:
        print("refused", error.code().name)

    gone = weft.Apply(api.ApplyRequest(owner="python", allow_empty=True), metadata=metadata)
    print("deleted", len(gone.changes))


if __name__ == "__main__":
    main()
