"""Writes rows through Python's ovs IDL, one transaction after the other, and keeps a view of them.

usage: idl_writer.py REMOTES SCHEMA-FILE {leader-only|any}

Prints "wrote N" after each. After a line on standard input it writes no more, waits until it sees all that it wrote, and
prints "saw N contents C", where C counts how often it got the contents anew instead of going on where it was.
"""

import sys
import threading

import ovs.db.idl
import ovs.poller


class View(ovs.db.idl.Idl):
    contents = 0

    def _Idl__clear(self):
        super()._Idl__clear()
        View.contents += 1


def names(idl):
    return {row.name for row in idl.tables["Address_Set"].rows.values()}


def wait(idl, condition):
    while not condition():
        seqno = idl.change_seqno
        idl.run()
        if idl.change_seqno == seqno and not condition():
            poller = ovs.poller.Poller()
            idl.wait(poller)
            poller.block()


def write(idl, name):
    # An attempt of which the answer was lost may have succeeded: then the row is there.
    while name not in names(idl):
        transaction = ovs.db.idl.Transaction(idl)
        transaction.insert(idl.tables["Address_Set"]).name = name
        status = transaction.commit_block()
        if status == ovs.db.idl.Transaction.SUCCESS:
            return
        if status not in (ovs.db.idl.Transaction.TRY_AGAIN, ovs.db.idl.Transaction.ERROR):
            sys.exit(f"{name}: {status}: {transaction.get_error()}")
        seqno = idl.change_seqno
        wait(idl, lambda: idl.change_seqno != seqno)


def main():
    remotes, schema, whom = sys.argv[1:]
    helper = ovs.db.idl.SchemaHelper(schema)
    helper.register_table("Address_Set")
    idl = View(remotes, helper, leader_only=whom == "leader-only")
    over = threading.Event()

    def listen():
        sys.stdin.readline()
        over.set()

    threading.Thread(target=listen, daemon=True).start()
    wait(idl, lambda: idl.has_ever_connected())
    at_first = View.contents
    written = 0
    while not over.is_set():
        write(idl, f"idl-{whom}-{written}")
        written += 1
        print("wrote", written, flush=True)
    wait(idl, lambda: all(f"idl-{whom}-{number}" in names(idl) for number in range(written)))
    print("saw", written, "contents", View.contents - at_first, flush=True)


main()
