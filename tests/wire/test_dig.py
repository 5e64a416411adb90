"""One case of each clause, asked by the real `dig`."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest

from tests.wire.specification import CASES

DIG = shutil.which("dig")

pytestmark = pytest.mark.skipif(DIG is None, reason="dig is not on PATH")

RECORD = re.compile(r"^([^;\s]+)\s+(\d+)\s+IN\s+(\S+)\s+(.+)$", re.MULTILINE)

SAMPLE = {case.clause.split()[0]: case for case in reversed(CASES) if case.type != "IXFR"}
"""The first case of each clause; IXFR wants a serial besides."""


@pytest.mark.parametrize("transport", ["+notcp", "+tcp"])
@pytest.mark.parametrize("case", SAMPLE.values(), ids=map(str, SAMPLE.values()))
def test_case(kdns_port, host, transport, case):
    port = str(kdns_port(case.variant))
    ask = [DIG, f"@{host}", "-p", port, "+tries=1", "+nosplit", transport, case.name, case.type]
    said = subprocess.run(ask, check=True, capture_output=True, text=True, timeout=10).stdout
    assert f"status: {case.expected.rcode}," in said or case.type == "AXFR"
    found = {
        (owner.lower(), qtype, int(ttl), " ".join(data.lower().split()))
        for owner, ttl, qtype, data in RECORD.findall(said)
        if qtype != "SOA"
    }
    expected = {
        tuple(each)
        for each in case.expected.answer | case.expected.additional
        if each.type != "SOA"
    }
    assert found == expected
