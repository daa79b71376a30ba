#!/usr/bin/env python3
"""Tests the emulator.

Usage: checks/gcs-emulator/test.py [-v] [Class[.test]]...
"""

import unittest

from tests.test_accounts import Accounts, Clocks, Permissions
from tests.test_http import Http
from tests.test_iam import Iam
from tests.test_objects import Objects
from tests.test_process import Process
from tests.test_reads import Reads
from tests.test_resumable import Resumable
from tests.test_uploads import Uploads

__all__ = [
    "Accounts",
    "Clocks",
    "Http",
    "Iam",
    "Objects",
    "Permissions",
    "Process",
    "Reads",
    "Resumable",
    "Uploads",
]

if __name__ == "__main__":
    unittest.main()
