"""Ways in which kdns answers other than CoreDNS beyond the cluster's own zones, in code.

As in `differences.py`, whose names come up again here where the difference is the same.
"""

from __future__ import annotations

from tests.wire.differences import Difference, Disagreement, MessageDifference

_ADDRESSES = ("A", "AAAA")
_REVERSE = (".in-addr.arpa.", ".ip6.arpa.")
_APICES = ("cluster.local.", "clusterset.local.", "example.com.", "in-addr.arpa.", "ip6.arpa.")


def _labels(it: Disagreement) -> list[str]:
    return it.name.split(".")


def _is_apex(it: Disagreement) -> bool:
    return it.name in _APICES


def _outside(it: Disagreement) -> bool:
    return it.name.endswith(".example.com.")


def _serves_addresses(it: Disagreement, name: str) -> bool:
    return any(it.ask(name, qtype).answer for qtype in (*_ADDRESSES, "SRV"))


def _portless(it: Disagreement) -> bool:
    return it.name == "portless.default.svc.clusterset.local." and it.kdns.rcode == "NOERROR"


def _pods(it: Disagreement) -> bool:
    pod = it.name.endswith(("pod.clusterset.local.", ".pod.clusterset.local."))
    return pod and it.kdns.rcode == "NXDOMAIN"


def _ignored_label(it: Disagreement) -> bool:
    """CoreDNS answers as if the first of four labels were not there."""
    label, _, service = it.name.partition(".")
    if not _outside(it) or len(_labels(it)) != 6:
        return False
    return bool(label) and _serves_addresses(it, service) and not it.went("missing", "missing")


def _load_balancer(it: Disagreement) -> bool:
    named = it.name == "named.prod.example.com."
    return named and it.type not in (*_ADDRESSES, "SRV") and it.went("nodata", "alias")


def _not_headless(it: Disagreement) -> bool:
    return it.name == "ep.inside.prod.example.com." and it.kdns.rcode == "NXDOMAIN"


def _ttl(it: Disagreement) -> bool:
    if not _outside(it) or not (it.went("SRV", "SRV") or it.went("alias", "alias")):
        return False
    ours = {record._replace(ttl=5) for record in it.kdns.answer}
    return ours == it.coredns.answer and it.kdns.additional == it.coredns.additional


def _dangling(it: Disagreement) -> bool:
    return it.went("PTR", "missing") and not any(
        it.ask(record.data, "A").answer for record in it.coredns.answer
    )


def _port_addresses(it: Disagreement) -> bool:
    port = it.name.startswith(("_", "http.")) and it.type in _ADDRESSES
    return port and it.kdns.answer == frozenset() and it.coredns.answer != frozenset()


def _any(it: Disagreement) -> bool:
    return it.type == "ANY" and it.kdns.answer != frozenset() and not it.coredns.answer


def _alias_types(it: Disagreement) -> bool:
    return it.name == "away.default.svc.cluster.local." and it.went("nodata", "alias")


def _bound(it: Disagreement) -> bool:
    own = it.name.removesuffix(".").startswith(("ns.dns.", "ns1.dns.")) or _is_apex(it)
    if it.name in ("in-addr.arpa.", "ip6.arpa."):
        return False
    return own and it.type in (*_ADDRESSES, "NS") and it.kdns.answer != frozenset()


def _reverse_servers(it: Disagreement) -> bool:
    return it.name in ("in-addr.arpa.", "ip6.arpa.") and it.went("NS", "NS")


def _reverse_types(it: Disagreement) -> bool:
    other = it.name.endswith(_REVERSE) and it.type != "PTR" and it.went("missing", "nodata")
    return other and it.ask(it.name, "PTR").answer != frozenset()


def _reverse_between(it: Disagreement) -> bool:
    return it.name.endswith(_REVERSE) and it.went("missing", "nodata") and it.exists_below(it.name)


def _below_ptr(it: Disagreement) -> bool:
    return len(_labels(it)) > 35 and it.name.endswith(".ip6.arpa.") and it.went("PTR", "missing")


def _dns_version(it: Disagreement) -> bool:
    return it.name.startswith("dns-version.") and it.went("missing", "nodata")


def _own_types(it: Disagreement) -> bool:
    return it.name.startswith("ns.dns.") and it.type == "PTR" and it.went("missing", "nodata")


def _soa(it: Disagreement) -> bool:
    return it.type == "SOA" and it.went("nodata", "missing") and not it.exists(it.name)


def _txt(it: Disagreement) -> bool:
    exists = _is_apex(it) or it.exists(it.name)
    return it.type == "TXT" and it.went("missing", "nodata") and exists


def _between(it: Disagreement) -> bool:
    below = not it.name.endswith(_REVERSE) and it.went("missing", "nodata")
    return below and not it.exists(it.name) and it.exists_below(it.name)


VIEWS = (
    Difference("ServiceImports without ports", "CoreDNS with Services", _portless),
    Difference("Pods of a cluster set", "KEP-1645", _pods),
    Difference("Labels in front of an external name", "RFC 1034 §4.3.2", _ignored_label),
    Difference("Load balancers with a name", "RFC 1034 §3.6.2", _load_balancer),
    Difference("Endpoints seen from outside", "RFC 8020 §2", _not_headless),
    Difference("The TTL of external SRV and CNAME records", "the option ttl", _ttl),
)
"""Those that are seen nowhere else."""

AGAIN = (
    Difference("Addresses at a port's name", "RFC 2782", _port_addresses),
    Difference("Other types at an ExternalName", "RFC 1034 §3.6.2", _alias_types),
    Difference("Name servers of a server with bind", "RFC 1034 §4.2.1", _bound),
    Difference("Name servers of reverse zones", "RFC 2181 §10.3", _reverse_servers),
    Difference("Names below an IPv6 reverse name", "RFC 3596 §2.5", _below_ptr),
    Difference("PTR to a name that does not exist", "RFC 1035 §3.5", _dangling),
    Difference("Other types at dns-version", "RFC 2308 §2.2", _dns_version),
    Difference("Other types at ns.dns", "RFC 2308 §2.2", _own_types),
    Difference("ANY", "RFC 8482 §4.1", _any),
    Difference("SOA below the apex", "RFC 2308 §2.1", _soa),
    Difference("TXT at a name that exists", "RFC 2308 §2.2", _txt),
    Difference("Names with nothing but names below them", "RFC 8020 §2", _between),
    Difference("Other types at a reverse name", "RFC 2308 §2.2", _reverse_types),
    Difference("Partial reverse names", "RFC 8020 §2", _reverse_between),
)
"""Those of `differences.py` that come up here too."""

NO_CLUSTER = "Imported slices of no cluster"
CONTENT = "The records of a transferred zone"
ZONE_NAMES = "Transfers of names that are no zone"
SERIALS = "Serials that are newer than the zone's"
NO_SERIAL = "IXFR without a serial"

TRANSFERS = (
    MessageDifference(NO_CLUSTER, "RFC 1035 §3.1"),
    MessageDifference(CONTENT, "RFC 5936 §2.2"),
    MessageDifference(ZONE_NAMES, "RFC 5936 §2.2.1"),
    MessageDifference(SERIALS, "RFC 1995 §2"),
    MessageDifference(NO_SERIAL, "RFC 1995 §3"),
)
"""Those that have a test each."""
