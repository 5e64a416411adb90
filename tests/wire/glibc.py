"""glibc's resolver through kdns, run in namespaces of its own: `python -m tests.wire.glibc FOLDER`.

/etc/resolv.conf has to name 127.0.0.1 there. Prints one JSON object: what each name led to, and
which questions the upstream was asked.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from pathlib import Path

from bench.peers.process import ServerProcess, answers
from bench.servers import kdns_executable
from tests.upstream.messages import answer, with_flags
from tests.upstream.scripted import Upstream, Upstreams, by_transport, sends
from tests.wire.cluster import external, service, slice_of

NAMESPACE = "default"
START_SECONDS = 30.0
MANY = 120

COREFILE = """\
. {{
    bind 127.0.0.1
    errors
    cache 30 {{
        disable success cluster.local
        disable denial cluster.local
    }}
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        manifests {manifests}
        pods insecure
        fallthrough in-addr.arpa ip6.arpa
    }}
    forward . {upstream}
    loadbalance
}}
"""

NAMES = {
    "a service of one's own namespace": "kubernetes",
    "a service of another namespace": "db.prod",
    "a service, as far as svc": "db.prod.svc",
    "a service, its whole name": "dual.default.svc.cluster.local",
    "a name outside": "www.example.com",
    "a name outside, absolute": "www.example.com.",
    "a name outside with an alias": "alias.example.com",
    "an external name": "outside",
    "a name with many addresses": "many.example.com",
    "a name that nobody has": "nobody.example.com",
    "a name that cannot be had": "broken.example.com",
}


def write_cluster(folder: Path) -> Path:
    """A folder of manifests with the services that are asked for, below another folder."""
    items = [
        service("kubernetes", "10.96.0.1", ports=["https:443"]),
        service("web", "10.96.0.20", ports=["http:80"]),
        service(
            "dual",
            *("10.96.0.21", "fd00:10:96::21"),
            ports=["http:80"],
            ipFamilyPolicy="RequireDualStack",
        ),
        service("db", "None", ports=["postgres:5432"], namespace="prod"),
        slice_of("db", "10.244.4.10", "10.244.4.11", ports=["postgres:5432"], namespace="prod"),
        external("outside", "www.example.com"),
    ]
    manifests = folder / "manifests"
    manifests.mkdir()
    whole = {"apiVersion": "v1", "kind": "List", "items": items}
    (manifests / "all.json").write_text(json.dumps(whole))
    return manifests


def script(upstream: Upstream) -> None:
    """What is outside."""
    soa = "example.com. 60 SOA ns.example.com. root.example.com. 1 7200 1800 86400 60"
    upstream.default = sends(answer(authority=[soa], rcode="NXDOMAIN"))
    none = sends(answer(authority=[soa]))
    for name in ("www", "alias", "many"):
        upstream.script(f"{name}.example.com.", none)
    upstream.script("www.example.com.", sends(answer("@ 60 A 192.0.2.1")), type="A")
    upstream.script("www.example.com.", sends(answer("@ 60 AAAA 2001:db8::1")), type="AAAA")
    alias = answer("@ 60 CNAME www.example.com.", "www.example.com. 60 A 192.0.2.1")
    upstream.script("alias.example.com.", sends(alias), type="A")
    many = sends(answer(*(f"@ 60 A 198.51.100.{n}" for n in range(MANY))))
    cut_short = sends(with_flags(answer(), on=0x0200))
    upstream.script("many.example.com.", by_transport(udp=cut_short, tcp=many), type="A")
    upstream.script("broken.example.com.", sends(answer(rcode="SERVFAIL")))


def addresses(name: str) -> list[str]:
    """What getaddrinfo says; the error's own name where it says none."""
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except socket.gaierror as error:
        names = {socket.EAI_NONAME: "EAI_NONAME", socket.EAI_AGAIN: "EAI_AGAIN"}
        return [names.get(error.errno, str(error))]
    return sorted({str(address[0]) for *_, address in found})


def getent(name: str) -> list[str]:
    """The same of `getent ahosts`, a program of its own."""
    said = subprocess.run(["getent", "ahosts", name], capture_output=True, text=True, check=False)
    return sorted({line.split()[0] for line in said.stdout.splitlines()})


def main(folder: Path) -> None:
    manifests = write_cluster(folder)
    with Upstreams() as upstreams:
        upstream = upstreams.open()
        script(upstream)
        corefile = folder / "Corefile"
        corefile.write_text(COREFILE.format(manifests=manifests, upstream=upstream.address))
        argv = [str(kdns_executable()), "-conf", corefile, "-dns.port", "53"]
        with ServerProcess(argv, folder / "log") as kdns:
            kdns.wait_until(lambda: answers(53), START_SECONDS)
            found = {what: addresses(name) for what, name in NAMES.items()}
            said = {what: getent(name) for what, name in NAMES.items()}
        asked = sorted({f"{each.name} {each.type}" for each in upstream.asked})
    print(json.dumps({"addresses": found, "getent": said, "asked": asked}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
