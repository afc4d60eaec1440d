"""Watches the logical switch ports of a northbound database over OVSDB, with Python's ovs library.

usage: watch_ports_ovsdb.py REMOTE [COUNT]

REMOTE is such as unix:/var/run/ovn/ovnnb_db.sock or tcp:10.0.0.1:6641; several, comma-separated, are the members of one
cluster. Prints a line for each port that appears (+), changes (~) or goes (-), and ends after COUNT lines, if given.

The library keeps a copy of what was asked for, and knows after a broken connection where it was: it goes on from there.
"""

import sys

import ovs.db.idl
import ovs.poller

# All that this needs of the schema: the server is asked for no more.
SCHEMA = {
    "name": "OVN_Northbound",
    "version": "7.0.0",
    "tables": {
        "Logical_Switch_Port": {
            "columns": {
                "name": {"type": "string"},
                "up": {"type": {"key": "boolean", "min": 0, "max": 1}},
            }
        }
    },
}


class Ports(ovs.db.idl.Idl):
    """A live copy of the ports that prints what happens to it."""

    signs = {ovs.db.idl.ROW_CREATE: "+", ovs.db.idl.ROW_UPDATE: "~", ovs.db.idl.ROW_DELETE: "-"}
    printed = 0

    def notify(self, event, row, updates=None):
        up = row.up[0] if row.up else False
        print(self.signs[event], row.name, "up" if up else "down", flush=True)
        self.printed += 1


def main():
    remote, *count = sys.argv[1:]
    helper = ovs.db.idl.SchemaHelper(schema_json=SCHEMA)
    helper.register_columns("Logical_Switch_Port", ["name", "up"])
    ports = Ports(remote, helper, leader_only=False)
    while not count or ports.printed < int(count[0]):
        seqno = ports.change_seqno
        ports.run()
        if ports.change_seqno == seqno:
            poller = ovs.poller.Poller()
            ports.wait(poller)
            poller.block()


main()
