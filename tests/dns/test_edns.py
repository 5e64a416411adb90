"""OPT records, read and written."""

from __future__ import annotations

import dns.edns
import dns.message
import dns.rdata
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.dns.codes import BADVERS, SERVFAIL
from kdns.dns.edns import Edns, opt_record, parse_opt

FIXED = bytes.fromhex("04d0 00 00 8000")


def option(code: int, content: bytes) -> bytes:
    return code.to_bytes(2, "big") + len(content).to_bytes(2, "big") + content


@pytest.mark.parametrize(
    ("fixed", "expected"),
    [
        ("04d0 00 00 0000", Edns(1232, 0, False)),
        ("0000 00 00 8000", Edns(0, 0, True)),
        ("ffff ff 01 7fff", Edns(65535, 1, False)),
    ],
)
def test_fixed_part(fixed: str, expected: Edns) -> None:
    assert parse_opt(bytes.fromhex(fixed), b"") == expected


@pytest.mark.parametrize(
    ("payload", "limit"),
    [
        (0, 512),
        (511, 512),
        (513, 513),
        (1232, 1232),
        (1233, 1232),
        (65535, 1232),
    ],
)
def test_udp_limit(payload: int, limit: int) -> None:
    assert Edns(payload, 0, dnssec_ok=False).udp_limit() == limit


@pytest.mark.parametrize("length", range(50))
def test_cookie_lengths(length: int) -> None:
    found = parse_opt(FIXED, option(10, b"c" * length))
    assert (found is not None) == (length == 8 or 16 <= length <= 40)


@given(st.lists(st.tuples(st.integers(11, 65535), st.binary(max_size=30)), max_size=5))
def test_whole_options_are_kept_raw_and_cut_ones_refused(options: list[tuple[int, bytes]]) -> None:
    raw = b"".join(option(*each) for each in options)
    found = parse_opt(FIXED, raw)
    assert found is not None
    assert found.options == raw
    ends = {sum(4 + len(content) for _, content in options[:n]) for n in range(len(options) + 1)}
    for cut in range(len(raw)):
        assert (parse_opt(FIXED, raw[:cut]) is not None) == (cut in ends)


@pytest.mark.parametrize("dnssec_ok", [False, True])
@pytest.mark.parametrize(
    ("rcode", "error"),
    [(0, None), (BADVERS, None), (SERVFAIL, (14, "nicht bereit, ä")), (0, (0, ""))],
)
def test_a_reply_to_dnspython(rcode: int, error: tuple[int, str] | None, dnssec_ok: bool) -> None:
    header = bytes.fromhex("1234 8000 0000 0000 0000 0001")
    header = header[:3] + bytes((rcode & 15,)) + header[4:]
    decoded = dns.message.from_wire(header + opt_record(rcode, dnssec_ok, error))
    assert decoded.edns == 0
    assert decoded.payload == 1232
    assert decoded.ednsflags & 0x8000 == 0x8000 * dnssec_ok
    assert decoded.rcode() == rcode
    found = [(each.code, each.text or "") for each in decoded.options]
    assert found == ([] if error is None else [error])
