"""Every way in which kdns answers other than CoreDNS on purpose; `docs/differences.md` in code.

A difference's name is its heading there. One of `ANSWERS` is recognized wherever the two servers
disagree about a name; those of `MESSAGES` concern packets, and have a test each.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from tests.wire.exchange import Answer
from tests.wire.product import Known
from tests.wire.servers import INSECURE, ZONES

_POD = ".pod.cluster.local."
_REVERSE = (".in-addr.arpa.", ".ip6.arpa.")
_ADDRESSES = ("A", "AAAA")
_SETS = (*_ADDRESSES, "SRV", "CNAME", "PTR")
_COOKIES = ("no bytes", "1 byte", "7 bytes", "9 bytes", "15 bytes", "41 bytes")
_SERVICE = re.compile(r"[^.]+\.[^.]+\.[^.]+\.[^.]+\.svc\.cluster\.local\.")


@dataclass(frozen=True)
class Disagreement:
    """What the servers of one variant said to one question.

    `ask(name, type)` is CoreDNS's answer to another one. `name` is in lower case.
    """

    variant: str
    name: str
    type: str
    coredns: Answer
    kdns: Answer
    ask: Callable[[str, str], Answer]
    known: Known

    def went(self, coredns: str, kdns: str) -> bool:
        """Whether the outcomes were these: `missing`, `nodata`, `alias`, or a record type."""
        return _outcome(self.coredns) == coredns and _outcome(self.kdns) == kdns

    def exists(self, name: str) -> bool:
        """Whether CoreDNS has anything at a name."""
        return any(self.ask(name, qtype).rcode == "NOERROR" for qtype in ("A", "PTR", "SRV"))

    def exists_below(self, name: str) -> bool:
        """Whether CoreDNS has anything below a name."""
        return any(map(self.exists, self.known.below(name)))

    def ends_as_coredns_says(self) -> bool:
        """Whether the records at the end of kdns's CNAME chain are CoreDNS's for that name."""
        chain = {each.owner: each.data for each in self.kdns.answer if each.type == "CNAME"}
        found = frozenset(each for each in self.kdns.answer if each.type != "CNAME")
        if not found:
            return True
        [end] = {each.owner for each in found}
        own = end in ("cluster.local.", "ns.dns.cluster.local.")  # see `_bound`
        return own or (end not in chain and found == self.ask(end, self.type).answer)

    def is_apex(self) -> bool:
        return self.name in ZONES.get(self.variant, ZONES[INSECURE])

    def is_reverse(self) -> bool:
        return self.name.endswith(_REVERSE)


def _outcome(answer: Answer) -> str:
    if answer.rcode in ("NXDOMAIN", "SERVFAIL") and not answer.answer:
        return "missing"  # SERVFAIL where names fall through to nobody
    if not answer.answer:
        return "nodata"
    if any(record.type == "CNAME" for record in answer.answer):
        return "alias"
    return next(iter(answer.answer)).type


class Difference(NamedTuple):
    """`explains` says whether a disagreement is of this kind and no other."""

    name: str
    reason: str
    explains: Callable[[Disagreement], bool]


def _txt(it: Disagreement) -> bool:
    exists = it.is_apex() or it.exists(it.name)
    return it.type == "TXT" and it.went("missing", "nodata") and exists


def _dns_version(it: Disagreement) -> bool:
    name = it.name == "dns-version.cluster.local."
    return name and (it.went("missing", "nodata") or it.went("missing", "TXT"))


def _ns_dns_types(it: Disagreement) -> bool:
    return it.name == "ns.dns.cluster.local." and it.went("missing", "nodata") and it.type != "TXT"


def _between(it: Disagreement) -> bool:
    below = not it.is_reverse() and it.went("missing", "nodata")
    return below and not it.exists(it.name) and it.exists_below(it.name)


def _reverse_types(it: Disagreement) -> bool:
    if not it.is_reverse() or it.type == "PTR":
        return False
    return it.went("missing", "nodata") and it.ask(it.name, "PTR").answer != frozenset()


def _reverse_between(it: Disagreement) -> bool:
    return it.is_reverse() and it.went("missing", "nodata") and bool(it.known.below(it.name))


def _soa(it: Disagreement) -> bool:
    missing = it.type == "SOA" and it.went("nodata", "missing") and not it.is_apex()
    return missing and not it.exists(it.name)


def _any(it: Disagreement) -> bool:
    if it.type != "ANY" or not it.kdns.answer:
        return False
    if it.is_apex():
        return it.went("nodata", "SOA")
    return any(it.ask(it.name, qtype).agrees(it.kdns) for qtype in _SETS)


def _pod_names(it: Disagreement) -> bool:
    dotted = "peers.prod.svc" in it.name or it.name == "23.4.244.10.in-addr.arpa."
    return it.variant == "pod-names" and dotted and it.kdns.rcode == "NOERROR"


def _port_addresses(it: Disagreement) -> bool:
    if it.went("alias", "alias"):
        return "inside-port" in it.name
    port_and_protocol = _SERVICE.fullmatch(it.name)
    return port_and_protocol is not None and it.type in _ADDRESSES and it.went(it.type, "nodata")


def _pod_labels(it: Disagreement) -> bool:
    extra = it.name.endswith(_POD) and len(it.name.removesuffix(_POD).split(".")) > 2
    return extra and _outcome(it.kdns) == "missing" and _outcome(it.coredns) != "missing"


def _pod_srv(it: Disagreement) -> bool:
    return it.name.endswith(_POD) and it.type == "SRV" and it.went("SRV", "nodata")


def _pod_addresses(it: Disagreement) -> bool:
    second = it.name.endswith(_POD) and it.name.startswith("fd00-")
    missing = _outcome(it.coredns) == "missing"
    return it.variant == "verified" and second and missing and it.kdns.rcode == "NOERROR"


def _alias_types(it: Disagreement) -> bool:
    if it.type in (*_ADDRESSES, "CNAME", "ANY") or not it.went("nodata", "alias"):
        return False
    return it.ask(it.name, "CNAME").answer <= it.kdns.answer and it.ends_as_coredns_says()


def _alias_kept(it: Disagreement) -> bool:
    return it.type in _ADDRESSES and it.went("nodata", "alias") and it.ends_as_coredns_says()


def _unready(it: Disagreement) -> bool:
    if "unready.prod.svc" not in it.name and it.name != "61.4.244.10.in-addr.arpa.":
        return False
    return it.kdns.rcode == "NOERROR" and len(it.coredns.answer) <= len(it.kdns.answer)


def _fqdn(it: Disagreement) -> bool:
    return "foreign.prod.svc" in it.name and _outcome(it.kdns) == "missing"


def _pending(it: Disagreement) -> bool:
    return it.name.endswith("pending.default.svc.cluster.local.") and it.went("alias", "nodata")


def _dangling(it: Disagreement) -> bool:
    if it.type not in ("PTR", "SOA") or _outcome(it.kdns) != "missing" or it.is_apex():
        return False
    targets = {record.data for record in it.ask(it.name, "PTR").answer}
    unknown = targets and not any(it.ask(target, "A").answer for target in targets)
    return bool(unknown) and it.name in it.known.names


def _below_ptr(it: Disagreement) -> bool:
    if not it.name.endswith(".ip6.arpa.") or len(it.name.split(".")) < 36:
        return False
    return _outcome(it.coredns) != "missing" and _outcome(it.kdns) == "missing"


def _bound(it: Disagreement) -> bool:
    if it.type == "NS" and it.is_apex():
        return it.went("nodata", "NS")
    addresses = it.type in (*_ADDRESSES, "ANY") and _outcome(it.coredns) == "nodata"
    return it.name == "ns.dns.cluster.local." and addresses and bool(it.kdns.answer)


ANSWERS = (
    Difference("publishNotReadyAddresses", "the specification", _unready),
    Difference("EndpointSlices of type FQDN", "RFC 1034 §3.6.2", _fqdn),
    Difference("A service without its cluster IP yet", "RFC 2308 §2.2", _pending),
    Difference("Labels in front of a pod's name", "RFC 1034 §4.3.2", _pod_labels),
    Difference("SRV at a pod's name", "RFC 2782", _pod_srv),
    Difference("Verified pods", "RFC 4291 §2.2", _pod_addresses),
    Difference("Addresses at a port's name", "RFC 2782", _port_addresses),
    Difference("Pod names with dots", "RFC 2782", _pod_names),
    Difference("PTR to a name that does not exist", "the specification", _dangling),
    Difference("Names below an IPv6 reverse name", "RFC 3596 §2.5", _below_ptr),
    Difference("Name servers of a server with bind", "RFC 1034 §4.2.1", _bound),
    Difference("Other types at dns-version", "RFC 2308 §2.2", _dns_version),
    Difference("Other types at ns.dns", "RFC 2308 §2.2", _ns_dns_types),
    Difference("ANY", "RFC 8482 §4.1", _any),
    Difference("SOA below the apex", "RFC 2308 §2.1", _soa),
    Difference("TXT at a name that exists", "RFC 2308 §2.2", _txt),
    Difference("Names with nothing but names below them", "RFC 8020 §2", _between),
    Difference("Other types at a reverse name", "RFC 2308 §2.2", _reverse_types),
    Difference("Partial reverse names", "RFC 8020 §2", _reverse_between),
    Difference("Other types at an ExternalName", "RFC 1034 §3.6.2", _alias_types),
    Difference("ExternalName without an address at its end", "RFC 6604 §3", _alias_kept),
)
"""The first that explains a disagreement is its kind: what is special comes before the general."""


class MessageDifference(NamedTuple):
    """`rows` are those of `packets.yaml` over TCP that show it; without them it has a test."""

    name: str
    reason: str
    rows: tuple[str, ...] = ()


MALFORMED = "Malformed queries"
COOKIES = "Cookies of a wrong length"
NOTIFY = "NOTIFY"
META_TYPES = "Types that no record has"
SIGNATURES = "Signed queries"
PAYLOAD = "UDP replies of more than 1232 bytes"
OWN_PAYLOAD = "The payload size in replies"
ADDITIONAL = "Additional records that do not fit"
LETTER_CASE = "Upper and lower case"
LINK_LOCAL = "Link-local addresses of name servers"
REVERSE_NS = "Name servers of reverse zones"
UNSYNCED = "Before the cluster is known"
ALIAS_RCODE = "The response code behind an ExternalName"
ALIAS_ALONE = "ExternalName for those who want no recursion"

MESSAGES = (
    MessageDifference(
        MALFORMED,
        "RFC 1035 §4.1, RFC 6891 §6.1.1",
        (
            "a header that promises a question",
            "an answer in a query",
            "an authority record in a query",
            "a name that points forward",
            "a pointer into the header",
            "a question without class",
            "two OPT records",
            "an OPT record that is not the root's",
            "OPT in the answer section",
            "OPT in the authority section",
        ),
    ),
    MessageDifference(
        COOKIES,
        "RFC 7873 §5.2.2",
        tuple(f"a cookie of {size}" for size in _COOKIES),
    ),
    MessageDifference(NOTIFY, "RFC 1996 §3.12", ("opcode NOTIFY",)),
    MessageDifference(
        META_TYPES,
        "RFC 6895 §3.1",
        tuple(f"type {name}" for name in ("0", "OPT", "TKEY", "TSIG", "MAILB", "MAILA")),
    ),
    MessageDifference(
        SIGNATURES,
        "RFC 8945 §5.2",
        (
            "a TSIG record of no key known",
            "a TSIG record of nothing",
            "a TSIG record that is not the last",
        ),
    ),
    MessageDifference(PAYLOAD, "RFC 9715 §3.1"),
    MessageDifference(OWN_PAYLOAD, "RFC 6891 §6.2.4"),
    MessageDifference(ADDITIONAL, "RFC 2181 §9"),
    MessageDifference(LETTER_CASE, "RFC 4343 §3"),
    MessageDifference(LINK_LOCAL, "RFC 4472 §2.1"),
    MessageDifference(REVERSE_NS, "RFC 2181 §10.3"),
    MessageDifference(UNSYNCED, "RFC 8914 §4.15"),
    MessageDifference(ALIAS_RCODE, "RFC 6604 §3"),
    MessageDifference(ALIAS_ALONE, "RFC 1034 §4.3.1"),
)
