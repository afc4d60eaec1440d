"""Runs the functional tests that ovsdbapp ships against databases that are already running.

usage: ovsdbapp_functional.py {ovn_northbound|ovn_southbound} NORTHBOUND-REMOTE SOUTHBOUND-REMOTE

ovsdbapp's fixtures would start OVN's own servers first; here the connections are given instead. The tests themselves
are as they were published. The last line counts them: "ran N failed N skipped N".
"""

import os
import sys
import unittest

from ovsdbapp.tests import functional
from ovsdbapp.tests.functional import base


def connect_to(northbound, southbound):
    """Replaces the start of servers by the use of those that run."""

    class Running:
        ovnnb_connection = northbound
        ovnsb_connection = southbound
        ovs_connection = None

        def cleanUp(self):
            pass

    @classmethod
    def set_up_class(cls):
        super(base.FunctionalTestCase, cls).setUpClass()
        cls.ovsvenv = Running()
        cls.schema_map = {"OVN_Northbound": northbound, "OVN_Southbound": southbound}
        cls.set_connection()

    base.FunctionalTestCase.setUpClass = set_up_class


def main():
    schema, northbound, southbound = sys.argv[1:]
    connect_to(northbound, southbound)
    folder = os.path.join(os.path.dirname(functional.__file__), "schema", schema)
    top = os.path.abspath(os.path.join(os.path.dirname(functional.__file__), "..", "..", ".."))
    suite = unittest.defaultTestLoader.discover(folder, top_level_dir=top)
    result = unittest.TextTestRunner(verbosity=0).run(suite)
    for test, trace in result.failures + result.errors:
        print("failed:", test.id(), trace.strip().splitlines()[-1])
    print(f"ran {result.testsRun} failed {len(result.failures) + len(result.errors)} skipped {len(result.skipped)}")


main()
