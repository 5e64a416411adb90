"""What to write in the place of what kdns does not have."""

from __future__ import annotations

from typing import Final, NamedTuple


class Advice(NamedTuple):
    """`lost` tells whether clients may notice that the plugin or option is not there."""

    text: str
    lost: bool = True


_ELSEWHERE: Final = Advice(
    "let a server that has the zone answer for it: `ZONE { forward . ADDRESS }`"
)
_LISTENER: Final = Advice("kdns answers over UDP and TCP: put a proxy in front of it that ends TLS")
_NOTHING: Final = Advice("nothing takes its place, and no client notices", lost=False)

PLUGINS: Final[dict[str, Advice]] = {
    "acl": Advice("say who may ask in a NetworkPolicy: `networkPolicy.from` in the chart"),
    "auto": _ELSEWHERE,
    "autopath": Advice(
        "write `searchpath`, which spares clients the same queries without a watch of pods",
        lost=False,
    ),
    "azure": _ELSEWHERE,
    "bufsize": Advice("kdns never sends more than 1232 bytes over UDP (RFC 9715)", lost=False),
    "cancel": _NOTHING,
    "chaos": Advice("nothing takes its place: only questions of class CH notice"),
    "clouddns": _ELSEWHERE,
    "debug": _NOTHING,
    "dns64": Advice("forward to a resolver that does DNS64: `forward . ADDRESS`"),
    "dnssec": Advice("nothing takes its place: answers are not signed"),
    "dnstap": Advice("write `log`, or let tcpdump record", lost=False),
    "erratic": _NOTHING,
    "etcd": _ELSEWHERE,
    "federation": Advice("Kubernetes has no federations any more", lost=False),
    "file": _ELSEWHERE,
    "geoip": _NOTHING,
    "grpc": Advice("forward over UDP, TCP, TLS or HTTPS: `forward . tls://ADDRESS`"),
    "grpc_server": _LISTENER,
    "header": Advice("nothing takes its place: flags are those of the answer"),
    "https": _LISTENER,
    "https3": _LISTENER,
    "local": Advice("pods have localhost in /etc/hosts; `hosts` can give it names here"),
    "metadata": Advice("only other plugins see what it collects", lost=False),
    "minimal": Advice("name servers and additional records stay in replies", lost=False),
    "nomad": _ELSEWHERE,
    "nsid": Advice("nothing takes its place: only those who ask for it notice"),
    "on": _NOTHING,
    "pprof": _NOTHING,
    "quic": _LISTENER,
    "rewrite": Advice(
        "for one name write a Service of type ExternalName or `hosts`; for a zone,"
        " `ZONE { forward . ADDRESS }`"
    ),
    "root": Advice("write whole paths", lost=False),
    "route53": _ELSEWHERE,
    "secondary": _ELSEWHERE,
    "shed": _NOTHING,
    "sign": Advice("nothing takes its place: answers are not signed"),
    "template": Advice("write names that are to exist in `hosts`; nothing denies whole domains"),
    "timeouts": _NOTHING,
    "tls": _LISTENER,
    "trace": _NOTHING,
    "tsig": Advice("kdns has no keys: say who may ask in a NetworkPolicy"),
    "view": Advice("write server blocks with `bind`, or run a second release"),
}
"""By plugins of CoreDNS, those of today and those that old Corefiles have."""

UNKNOWN: Final = Advice("it is no plugin of CoreDNS's own; ask whoever built yours what it does")

OPTIONS: Final[dict[tuple[str, str], Advice]] = {
    ("kubernetes", "resyncperiod"): Advice(
        "it means nothing: changes are heard as they happen, and checked by kdns itself", lost=False
    ),
    ("kubernetes", "upstream"): Advice(
        "it means nothing: what is behind an ExternalName is always looked up", lost=False
    ),
}
"""By plugin and option, where there is more to say than that kdns does not know it."""
