"""The Kubernetes DNS specification 1.1.0, and what users rely on beyond it, as cases.

A clause is a rule of the specification in its own order: S of the schema, C of cluster IPs, H of
headless services, E of external names, X of extensions. `CoreDNS` names behaviour that the
specification leaves open and CoreDNS has; RFC numbers speak for themselves.
"""

from __future__ import annotations

from typing import NamedTuple

from tests.wire.exchange import Answer, Record
from tests.wire.servers import INSECURE, TTL, ZONES

OK = "NOERROR"
NODATA = "NODATA"
NXDOMAIN = "NXDOMAIN"
REFUSED = "REFUSED"
SERVFAIL = "SERVFAIL"

_TYPES = frozenset(("A", "AAAA", "CNAME", "NS", "PTR", "SOA", "SRV", "TXT"))


class Case(NamedTuple):
    """One question to the server of a variant, and its whole answer."""

    clause: str
    name: str
    type: str
    expected: Answer
    variant: str

    def __str__(self) -> str:
        return f"{self.clause}: {self.name} {self.type}"


def case(
    clause: str,
    name: str,
    qtype: str,
    outcome: str,
    *answer: str,
    extra: tuple[str, ...] = (),
    variant: str = INSECURE,
    ttl: int | None = None,
) -> Case:
    """`Z` at the end of a name stands for the cluster's zone.

    Records are the rdata alone, of the name and type that was asked, or `owner TYPE rdata`.
    """
    name = _named(name)
    ttl = TTL.get(variant, 5) if ttl is None else ttl
    rcode = OK if outcome == NODATA else outcome
    zones = ZONES.get(variant, ZONES[INSECURE])
    zone = next((zone for zone in zones if name.lower().endswith(zone)), "")
    soa = Record(zone, "SOA", min(ttl, 300), f"ns.dns.{zone}")
    return Case(
        clause,
        name,
        qtype,
        Answer(
            rcode,
            "" if rcode in (REFUSED, SERVFAIL) else "AA",
            frozenset(_record(text, name.lower(), qtype, ttl) for text in answer),
            frozenset((soa,) if outcome in (NODATA, NXDOMAIN) else ()),
            frozenset(_record(text, name.lower(), qtype, ttl) for text in extra),
        ),
        variant,
    )


def _named(text: str) -> str:
    return f"{text[:-1]}cluster.local." if text.endswith("Z") else text


def _record(text: str, owner: str, qtype: str, ttl: int) -> Record:
    words = text.split()
    if len(words) > 2 and words[1] in _TYPES:
        owner, qtype, words = _named(words[0]), words[1], words[2:]
    return Record(owner, qtype, ttl, " ".join(map(_named, words)))


SCHEMA = (
    case("S1", "dns-version.Z", "TXT", OK, '"1.1.0"', ttl=28800),
    case("S1", "dns-version.Z", "A", NODATA),
    case("S2", "KuBerNetes.DEFAULT.svc.cluster.LOCAL.", "A", OK, "10.96.0.1"),
    case(
        "S2",
        "_HTTPS._TCP.Kubernetes.Default.SVC.CLUSTER.Local.",
        "SRV",
        OK,
        "0 100 443 kubernetes.default.svc.Z",
        extra=("kubernetes.default.svc.Z A 10.96.0.1",),
    ),
    case("S2", "20.0.96.10.In-Addr.ARPA.", "PTR", OK, "web.default.svc.Z"),
    case("S2", "DNS-Version.Z", "TXT", OK, '"1.1.0"', ttl=28800),
    case("S2", "NOBODY.default.svc.Z", "A", NXDOMAIN),
)

CLUSTER_IP = (
    case("C1", "kubernetes.default.svc.Z", "A", OK, "10.96.0.1"),
    case("C1 a name that begins with a digit", "1kubernetes.default.svc.Z", "A", OK, "10.96.0.2"),
    case("C1 other namespaces", "web.staging.svc.Z", "A", OK, "10.96.0.40"),
    case("C1 no selector", "manual.default.svc.Z", "A", OK, "10.96.0.26"),
    case("C1 no endpoints", "idle.default.svc.Z", "A", OK, "10.96.0.27"),
    case("C1 none ready", "starting.default.svc.Z", "A", OK, "10.96.0.28"),
    case("C1 LoadBalancer", "balanced.default.svc.Z", "A", OK, "10.96.0.30"),
    case("C1 NodePort", "ported.default.svc.Z", "A", OK, "10.96.0.31"),
    case("C1 no ports", "portless.default.svc.Z", "A", OK, "10.96.0.25"),
    case("C2", "web6.default.svc.Z", "AAAA", OK, "fd00:10:96::20"),
    case("C2 dual stack", "dual.default.svc.Z", "A", OK, "10.96.0.21"),
    case("C2 dual stack", "dual.default.svc.Z", "AAAA", OK, "fd00:10:96::21"),
    case("C3", "kubernetes.default.svc.Z", "AAAA", NODATA),
    case("C3", "web6.default.svc.Z", "A", NODATA),
    case("C3 no address yet", "pending.default.svc.Z", "A", NODATA),
    case(
        "C4",
        "_https._tcp.kubernetes.default.svc.Z",
        "SRV",
        OK,
        "0 100 443 kubernetes.default.svc.Z",
        extra=("kubernetes.default.svc.Z A 10.96.0.1",),
    ),
    case(
        "C4 UDP",
        "_dns._udp.kube-dns.kube-system.svc.Z",
        "SRV",
        OK,
        "0 100 53 kube-dns.kube-system.svc.Z",
        extra=("kube-dns.kube-system.svc.Z A 10.96.0.10",),
    ),
    case(
        "C4 SCTP",
        "_diameter._sctp.radio.default.svc.Z",
        "SRV",
        OK,
        "0 100 3868 radio.default.svc.Z",
        extra=("radio.default.svc.Z A 10.96.0.24",),
    ),
    case("C4 another protocol", "_dns._tcp.kube-dns.kube-system.svc.Z", "SRV", NXDOMAIN),
    case("C4 another port", "_nothing._tcp.kubernetes.default.svc.Z", "SRV", NXDOMAIN),
    case("C5", "_8080._tcp.plain.default.svc.Z", "SRV", NXDOMAIN),
    case("C5", "_tcp.plain.default.svc.Z", "SRV", NXDOMAIN),
    case("C5 no ports", "portless.default.svc.Z", "SRV", NODATA),
    case(
        "C6 glue of both families",
        "_https._tcp.dual.default.svc.Z",
        "SRV",
        OK,
        "0 50 443 dual.default.svc.Z",
        extra=(
            "dual.default.svc.Z A 10.96.0.21",
            "dual.default.svc.Z AAAA fd00:10:96::21",
        ),
    ),
    case("C7", "1.0.96.10.in-addr.arpa.", "PTR", OK, "kubernetes.default.svc.Z"),
    case(
        "C7 before endpoints",
        "20.0.96.10.in-addr.arpa.",
        "PTR",
        OK,
        "web.default.svc.Z",
    ),
    case(
        "C8",
        "0.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.6.9.0.0.0.1.0.0.0.0.d.f.ip6.arpa.",
        "PTR",
        OK,
        "web6.default.svc.Z",
    ),
)

HEADLESS = (
    case("H1", "db.prod.svc.Z", "A", OK, "10.244.4.10", "10.244.4.11"),
    case(
        "H1 one endpoint in two slices",
        "moved.prod.svc.Z",
        "A",
        OK,
        "10.244.4.50",
        "10.244.4.51",
        "10.244.4.52",
    ),
    case("H1 slices of both families", "both.prod.svc.Z", "A", OK, "10.244.4.40", "10.244.4.41"),
    case("H2", "both.prod.svc.Z", "AAAA", OK, "fd00:10:244::40", "fd00:10:244::41"),
    case("H2", "db.prod.svc.Z", "AAAA", NODATA),
    case("H3 no endpoints", "none.prod.svc.Z", "A", NXDOMAIN),
    case("H3 no endpoints", "none.prod.svc.Z", "SRV", NXDOMAIN),
    case("H3 none ready", "starting.prod.svc.Z", "A", NXDOMAIN),
    case("H3 none ready", "_http._tcp.starting.prod.svc.Z", "SRV", NXDOMAIN),
    case("H4", "db-0.db.prod.svc.Z", "A", OK, "10.244.4.10"),
    case("H4 several addresses", "twin-0.twin.prod.svc.Z", "A", OK, "10.244.4.30", "10.244.4.31"),
    case("H4 both families", "both-1.both.prod.svc.Z", "A", OK, "10.244.4.41"),
    case("H4 both families", "both-1.both.prod.svc.Z", "AAAA", OK, "fd00:10:244::41"),
    case("H4", "db-0.db.prod.svc.Z", "AAAA", NODATA),
    case("H4 not ready", "db-2.db.prod.svc.Z", "A", NXDOMAIN),
    case("H4 another service's", "db-0.peers.prod.svc.Z", "A", NXDOMAIN),
    case("H5", "10-244-4-20.peers.prod.svc.Z", "A", OK, "10.244.4.20"),
    case("H5 IPv6", "2001-db8--1-0-5.six.prod.svc.Z", "AAAA", OK, "2001:db8::1:0:5"),
    case("H5 no dash at the end", "fd00--0.six.prod.svc.Z", "AAAA", OK, "fd00::"),
    case("H5 the hostname instead", "10-244-4-10.db.prod.svc.Z", "A", NXDOMAIN),
    case("H6 nothing said is ready", "leaving.prod.svc.Z", "A", OK, "10.244.4.92"),
    case("H6 serving while it ends", "leaving-0.leaving.prod.svc.Z", "A", NXDOMAIN),
    case("H6 ready by the controller", "published.prod.svc.Z", "A", OK, "10.244.4.60"),
    case("H6 published nevertheless", "unready.prod.svc.Z", "A", OK, "10.244.4.61", "10.244.4.62"),
    case(
        "H7",
        "_postgres._tcp.db.prod.svc.Z",
        "SRV",
        OK,
        "0 50 5432 db-0.db.prod.svc.Z",
        "0 50 5432 db-1.db.prod.svc.Z",
        extra=("db-0.db.prod.svc.Z A 10.244.4.10", "db-1.db.prod.svc.Z A 10.244.4.11"),
    ),
    case(
        "H7 endpoints times ports",
        "db.prod.svc.Z",
        "SRV",
        OK,
        "0 25 5432 db-0.db.prod.svc.Z",
        "0 25 5432 db-1.db.prod.svc.Z",
        "0 25 9187 db-0.db.prod.svc.Z",
        "0 25 9187 db-1.db.prod.svc.Z",
        extra=("db-0.db.prod.svc.Z A 10.244.4.10", "db-1.db.prod.svc.Z A 10.244.4.11"),
    ),
    case(
        "H7 several addresses, one target",
        "_http._tcp.twin.prod.svc.Z",
        "SRV",
        OK,
        "0 33 80 twin-0.twin.prod.svc.Z",
        "0 33 80 twin-1.twin.prod.svc.Z",
        extra=(
            "twin-0.twin.prod.svc.Z A 10.244.4.30",
            "twin-0.twin.prod.svc.Z A 10.244.4.31",
            "twin-1.twin.prod.svc.Z A 10.244.4.32",
        ),
    ),
    case(
        "H8 each slice's own port",
        "_http._tcp.split.prod.svc.Z",
        "SRV",
        OK,
        "0 50 8080 10-244-4-80.split.prod.svc.Z",
        "0 50 8081 10-244-4-81.split.prod.svc.Z",
        extra=(
            "10-244-4-80.split.prod.svc.Z A 10.244.4.80",
            "10-244-4-81.split.prod.svc.Z A 10.244.4.81",
        ),
    ),
    case(
        "H8 a port of one slice",
        "_admin._tcp.split.prod.svc.Z",
        "SRV",
        OK,
        "0 100 81 10-244-4-81.split.prod.svc.Z",
        extra=("10-244-4-81.split.prod.svc.Z A 10.244.4.81",),
    ),
    case("H9", "_9000._tcp.unnamed.prod.svc.Z", "SRV", NXDOMAIN),
    case("H9 no ports", "portless.prod.svc.Z", "SRV", NODATA),
    case("H9 no ports", "portless.prod.svc.Z", "A", OK, "10.244.4.70"),
    case("H10", "11.4.244.10.in-addr.arpa.", "PTR", OK, "db-1.db.prod.svc.Z"),
    case(
        "H10 IPv6",
        "1.4.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.4.4.2.0.0.1.0.0.0.0.d.f.ip6.arpa.",
        "PTR",
        OK,
        "both-1.both.prod.svc.Z",
    ),
    case(
        "H10 of two services",
        "90.4.244.10.in-addr.arpa.",
        "PTR",
        OK,
        "same.shared-a.prod.svc.Z",
        "same.shared-b.prod.svc.Z",
    ),
    case(
        "H10 in two slices", "51.4.244.10.in-addr.arpa.", "PTR", OK, "10-244-4-51.moved.prod.svc.Z"
    ),
    case("H10 not ready", "12.4.244.10.in-addr.arpa.", "PTR", NXDOMAIN),
)

_OUTSIDE = "outside.default.svc.Z CNAME www.example.com."
_INSIDE = "inside.default.svc.Z CNAME web.default.svc.Z"
_MISSING = "missing.default.svc.Z CNAME nothere.default.svc.Z"

EXTERNAL_NAME = (
    case("E1", "outside.default.svc.Z", "A", OK, _OUTSIDE),
    case("E1", "outside.default.svc.Z", "AAAA", OK, _OUTSIDE),
    case("E1", "outside.default.svc.Z", "CNAME", OK, _OUTSIDE),
    case(
        "E1 final dot",
        "outside-dot.default.svc.Z",
        "A",
        OK,
        "outside-dot.default.svc.Z CNAME example.net.",
    ),
    case(
        "E1 in the same zone",
        "inside.default.svc.Z",
        "A",
        OK,
        _INSIDE,
        "web.default.svc.Z A 10.96.0.20",
    ),
    case("E1 in the same zone", "inside.default.svc.Z", "CNAME", OK, _INSIDE),
    case("E1 in the same zone, RFC 1034 3.6.2", "inside.default.svc.Z", "AAAA", NODATA, _INSIDE),
    case(
        "E1 a headless service",
        "inside-headless.default.svc.Z",
        "A",
        OK,
        "inside-headless.default.svc.Z CNAME db.prod.svc.Z",
        "db.prod.svc.Z A 10.244.4.10",
        "db.prod.svc.Z A 10.244.4.11",
    ),
    case(
        "E1 a chain",
        "chain.default.svc.Z",
        "A",
        OK,
        "chain.default.svc.Z CNAME inside.default.svc.Z",
        _INSIDE,
        "web.default.svc.Z A 10.96.0.20",
    ),
    case(
        "E1 a chain to the outside",
        "chain-outside.default.svc.Z",
        "A",
        OK,
        "chain-outside.default.svc.Z CNAME outside.default.svc.Z",
        _OUTSIDE,
    ),
    case("E1 to nothing, RFC 6604 3", "missing.default.svc.Z", "A", NXDOMAIN, _MISSING),
    case("E1 to nothing", "missing.default.svc.Z", "CNAME", OK, _MISSING),
    case(
        "E1 a loop",
        "loop-a.default.svc.Z",
        "A",
        OK,
        "loop-a.default.svc.Z CNAME loop-b.default.svc.Z",
        "loop-b.default.svc.Z CNAME loop-a.default.svc.Z",
    ),
    case(
        "E1 the longest chain that is followed",
        "hop-2.default.svc.Z",
        "A",
        OK,
        *(f"hop-{n}.default.svc.Z CNAME hop-{n + 1}.default.svc.Z" for n in range(2, 12)),
        "hop-12.default.svc.Z CNAME web.default.svc.Z",
        "web.default.svc.Z A 10.96.0.20",
    ),
    case("E1 an address is no name", "literal.default.svc.Z", "A", NXDOMAIN),
    case("E1 an address is no name", "literal6.default.svc.Z", "CNAME", NXDOMAIN),
    case("E2", "outside.default.svc.Z", "SRV", OK, _OUTSIDE),
    case("E2 ports make no names", "_http._tcp.ported-outside.default.svc.Z", "SRV", NXDOMAIN),
    case("E2 slices make no names", "outside-0.outside.default.svc.Z", "A", NXDOMAIN),
    case("E2 slices make no names", "1.5.244.10.in-addr.arpa.", "PTR", NXDOMAIN),
)

EXTENSIONS = (
    case("X1 CoreDNS pods", "10-244-1-20.default.pod.Z", "A", OK, "10.244.1.20"),
    case("X1 CoreDNS pods", "10-244-1-20.default.pod.Z", "AAAA", NODATA),
    case("X1 CoreDNS pods IPv6", "fd00-10-244--30.default.pod.Z", "AAAA", OK, "fd00:10:244::30"),
    case("X1 CoreDNS pods insecure", "1-2-3-4.default.pod.Z", "A", OK, "1.2.3.4"),
    case("X1 CoreDNS pods no namespace", "1-2-3-4.ghost.pod.Z", "A", NXDOMAIN),
    case("X1 CoreDNS pods no address", "1-2-3-256.default.pod.Z", "A", NXDOMAIN),
    case("X1 CoreDNS pods disabled", "1-2-3-4.default.pod.Z", "A", NXDOMAIN, variant="disabled"),
    case("X1 CoreDNS pods disabled", "default.pod.Z", "A", NXDOMAIN, variant="disabled"),
    case("X1 CoreDNS pods disabled", "pod.Z", "A", NODATA, variant="disabled"),
    case(
        "X1 CoreDNS pods verified",
        "10-244-1-20.default.pod.Z",
        "A",
        OK,
        "10.244.1.20",
        variant="verified",
    ),
    case(
        "X1 CoreDNS pods verified, all addresses",
        "fd00-10-244--30.default.pod.Z",
        "AAAA",
        OK,
        "fd00:10:244::30",
        variant="verified",
    ),
    case("X1 CoreDNS pods verified", "1-2-3-4.default.pod.Z", "A", NXDOMAIN, variant="verified"),
    case(
        "X1 CoreDNS pods verified, another namespace",
        "10-244-1-20.prod.pod.Z",
        "A",
        NXDOMAIN,
        variant="verified",
    ),
    case(
        "X1 CoreDNS pods verified, ended",
        "10-244-1-99.default.pod.Z",
        "A",
        NXDOMAIN,
        variant="verified",
    ),
    case("X1 CoreDNS endpoints", "alpha.named.default.svc.Z", "A", OK, "10.244.2.40"),
    case("X1 CoreDNS endpoints", "10-244-1-20.web.default.svc.Z", "A", OK, "10.244.1.20"),
    case("X1 CoreDNS endpoints not ready", "10-244-1-22.web.default.svc.Z", "A", NXDOMAIN),
    case(
        "X1 CoreDNS endpoints",
        "20.1.244.10.in-addr.arpa.",
        "PTR",
        OK,
        "10-244-1-20.web.default.svc.Z",
    ),
    case(
        "X1 CoreDNS endpoint_pod_names",
        "web-7f-a.web.default.svc.Z",
        "A",
        OK,
        "10.244.1.20",
        variant="pod-names",
    ),
    case(
        "X1 CoreDNS endpoint_pod_names too long",
        "10-244-4-22.peers.prod.svc.Z",
        "A",
        OK,
        "10.244.4.22",
        variant="pod-names",
    ),
    case(
        "X1 CoreDNS SRV of a service",
        "plain.default.svc.Z",
        "SRV",
        OK,
        "0 100 8080 plain.default.svc.Z",
        extra=("plain.default.svc.Z A 10.96.0.22",),
    ),
    case(
        "X1 CoreDNS SRV of an endpoint",
        "db-0.db.prod.svc.Z",
        "SRV",
        OK,
        "0 50 5432 db-0.db.prod.svc.Z",
        "0 50 9187 db-0.db.prod.svc.Z",
        extra=("db-0.db.prod.svc.Z A 10.244.4.10",),
    ),
    case(
        "X1 CoreDNS without underscores",
        "https.tcp.kubernetes.default.svc.Z",
        "SRV",
        OK,
        "0 100 443 kubernetes.default.svc.Z",
        extra=("kubernetes.default.svc.Z A 10.96.0.1",),
    ),
    case("X1 CoreDNS endpoint SRV name", "x._https._tcp.kubernetes.default.svc.Z", "SRV", NXDOMAIN),
    case("X1 CoreDNS no wildcards", "*.default.svc.Z", "A", NXDOMAIN),
    case("X1 CoreDNS no wildcards", "any.any.svc.Z", "A", NXDOMAIN),
    case("X1 CoreDNS namespaces", "web.staging.svc.Z", "A", NXDOMAIN, variant="namespaces"),
    case("X1 CoreDNS namespaces", "staging.svc.Z", "A", NXDOMAIN, variant="namespaces"),
    case(
        "X1 CoreDNS namespaces", "40.0.96.10.in-addr.arpa.", "PTR", NXDOMAIN, variant="namespaces"
    ),
    case("X1 CoreDNS namespaces", "web.default.svc.Z", "A", OK, "10.96.0.20", variant="namespaces"),
    case("X1 CoreDNS ignore empty_service", "idle.default.svc.Z", "A", NXDOMAIN, variant="ignore"),
    case(
        "X1 CoreDNS ignore empty_service",
        "starting.default.svc.Z",
        "A",
        NXDOMAIN,
        variant="ignore",
    ),
    case(
        "X1 CoreDNS ignore empty_service",
        "web.default.svc.Z",
        "A",
        OK,
        "10.96.0.20",
        variant="ignore",
    ),
    case("X1 CoreDNS noendpoints", "db.prod.svc.Z", "A", NXDOMAIN, variant="noendpoints"),
    case(
        "X1 CoreDNS noendpoints",
        "web.default.svc.Z",
        "A",
        OK,
        "10.96.0.20",
        variant="noendpoints",
    ),
    case("X1 CoreDNS ttl", "web.default.svc.Z", "A", OK, "10.96.0.20", variant="ttl"),
    case("X1 CoreDNS ttl", "web.default.svc.Z", "AAAA", NODATA, variant="ttl"),
    case("X1 CoreDNS ttl", "web.default.svc.Z", "A", OK, "10.96.0.20", variant="ttl-0"),
    case("X1 CoreDNS ttl", "nobody.default.svc.Z", "A", NXDOMAIN, variant="ttl-0"),
    case("X1 CoreDNS fallthrough", "nobody.default.svc.Z", "A", SERVFAIL, variant="fallthrough"),
    case("X1 CoreDNS fallthrough", "web.default.svc.Z", "AAAA", NODATA, variant="fallthrough"),
    case(
        "X1 CoreDNS fallthrough of a zone",
        "9.9.9.9.in-addr.arpa.",
        "PTR",
        SERVFAIL,
        variant="fallthrough-some",
    ),
    case(
        "X1 CoreDNS fallthrough of a zone",
        "nobody.default.svc.Z",
        "A",
        NXDOMAIN,
        variant="fallthrough-some",
    ),
    case(
        "X1 CoreDNS CIDR zones",
        "20.0.96.10.in-addr.arpa.",
        "PTR",
        OK,
        "web.default.svc.Z",
        variant="cidr",
    ),
    case(
        "X1 CoreDNS CIDR zones",
        "11.4.244.10.in-addr.arpa.",
        "PTR",
        OK,
        "db-1.db.prod.svc.Z",
        variant="cidr",
    ),
    case("X1 CoreDNS CIDR zones", "99.0.96.10.in-addr.arpa.", "PTR", NXDOMAIN, variant="cidr"),
    case("X1 CoreDNS CIDR zones", "90.16.244.10.in-addr.arpa.", "PTR", SERVFAIL, variant="cidr"),
    case("X1 CoreDNS apex", "Z", "SOA", OK, "cluster.local. SOA ns.dns.Z"),
)

PROTOCOL = (
    case("RFC 8020 a name below", "svc.Z", "A", NODATA),
    case("RFC 8020 a name below", "pod.Z", "A", NODATA),
    case("RFC 8020 a name below", "default.svc.Z", "A", NODATA),
    case("RFC 8020 a name below", "default.pod.Z", "A", NODATA),
    case("RFC 8020 a name below", "dns.Z", "A", NODATA),
    case("RFC 8020 a name below", "_tcp.kubernetes.default.svc.Z", "SRV", NODATA),
    case("RFC 8020 a name below", "96.10.in-addr.arpa.", "PTR", NODATA),
    case("RFC 8020 a name below", "d.f.ip6.arpa.", "A", NODATA),
    case("RFC 8020 none below", "_udp.kubernetes.default.svc.Z", "SRV", NXDOMAIN),
    case("RFC 8020 none below", "97.10.in-addr.arpa.", "PTR", NXDOMAIN),
    case("RFC 8020 none below", "ghost.svc.Z", "A", NXDOMAIN),
    case("RFC 8020 none below", "foo.Z", "A", NXDOMAIN),
    case("RFC 2308 2.2 another type", "default.svc.Z", "TXT", NODATA),
    case("RFC 2308 2.2 another type", "Z", "TXT", NODATA),
    case("RFC 2308 2.2 another type", "kubernetes.default.svc.Z", "TXT", NODATA),
    case("RFC 2308 2.2 another type", "kubernetes.default.svc.Z", "MX", NODATA),
    case("RFC 2308 2.2 another type", "kubernetes.default.svc.Z", "HTTPS", NODATA),
    case("RFC 2308 2.2 another type", "kubernetes.default.svc.Z", "PTR", NODATA),
    case("RFC 2308 2.2 another type", "1.0.96.10.in-addr.arpa.", "A", NODATA),
    case("RFC 2308 2.2 another type", "_https._tcp.kubernetes.default.svc.Z", "A", NODATA),
    case("RFC 2308 2.1 SOA below the apex", "nobody.default.svc.Z", "SOA", NXDOMAIN),
    case("RFC 2308 2.2 SOA below the apex", "kubernetes.default.svc.Z", "SOA", NODATA),
    case("RFC 3597 unknown type", "kubernetes.default.svc.Z", "TYPE65280", NODATA),
    case("RFC 3597 unknown type", "nobody.default.svc.Z", "TYPE65280", NXDOMAIN),
    case(
        "RFC 8482 4.1 one record set",
        "kubernetes.default.svc.Z",
        "ANY",
        OK,
        "kubernetes.default.svc.Z A 10.96.0.1",
    ),
    case("RFC 8482", "nobody.default.svc.Z", "ANY", NXDOMAIN),
    case("RFC 5936 transfers need leave", "Z", "AXFR", REFUSED),
    case("RFC 5936 transfers need leave", "Z", "IXFR", REFUSED),
    case("CoreDNS no plugin for the name", "www.example.com.", "A", SERVFAIL),
)

CASES = (*SCHEMA, *CLUSTER_IP, *HEADLESS, *EXTERNAL_NAME, *EXTENSIONS, *PROTOCOL)
