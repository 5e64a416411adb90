import dns.flags
import dns.message
import dns.rcode
import dns.rrset
import pytest

from bench.live.replies import Said, address_query, asked, read
from bench.query import AAAA, A

NAME = "db.shop.svc.cluster.local"
ADDRESSES = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def reply(*addresses: str, rcode: int = 0, rdtype: str = "A") -> bytes:
    message = dns.message.make_response(dns.message.from_wire(address_query(NAME)))
    message.set_rcode(dns.rcode.Rcode(rcode))
    if addresses:
        message.answer.append(dns.rrset.from_text(NAME + ".", 30, "IN", rdtype, *addresses))
    return message.to_wire()


@pytest.mark.parametrize(
    ("wire", "said"),
    [
        (reply(*ADDRESSES), asked(NAME, A, reversed(ADDRESSES)).right),
        (reply("fd00::1", rdtype="AAAA"), asked(NAME, AAAA, ["fd00::1"]).right),
        (reply(), asked(NAME, A, []).right),
        (reply(rcode=3), Said(3, frozenset())),
    ],
    ids=["addresses in any order", "IPv6", "no data", "no such name"],
)
def test_a_reply_says_its_rcode_and_addresses(wire: bytes, said: Said) -> None:
    assert read(wire) == said


def test_one_address_less_is_another_answer() -> None:
    assert read(reply(*ADDRESSES[:2])) != asked(NAME, A, ADDRESSES).right


def test_names_without_compression_are_passed_over() -> None:
    name = b"\2db\4shop\3svc\7cluster\5local\0"
    record = name + b"\0\1\0\1\0\0\0\x1e\0\4\x0a\0\0\7"
    header = b"\0\0\x84\0\0\1\0\1\0\0\0\0"
    assert read(header + name + b"\0\1\0\1" + record).addresses == {bytes([10, 0, 0, 7])}


@pytest.mark.parametrize("length", range(len(reply(*ADDRESSES))))
def test_no_part_of_a_reply_can_be_read(length: int) -> None:
    with pytest.raises(ValueError, match=r"not a reply|cut short"):
        read(reply(*ADDRESSES)[:length])


def test_a_query_is_no_reply() -> None:
    with pytest.raises(ValueError, match="not a reply"):
        read(address_query(NAME))


def test_what_was_said_is_told_to_people() -> None:
    assert str(read(reply("10.0.0.2", "10.0.0.1"))) == "rcode 0, 10.0.0.1, 10.0.0.2"
    assert str(Said(3, frozenset())) == "rcode 3, no address"
