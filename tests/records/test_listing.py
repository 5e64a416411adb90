from __future__ import annotations

import pytest

from kdns.records.listing import all_records

EXPECTED = """\
cluster.local. 5 SOA ns.dns.cluster.local. hostmaster.cluster.local. 1000 7200 1800 86400 5
cluster.local. 5 NS ns.dns.cluster.local.
ns.dns.cluster.local. 5 A 192.0.2.1
dns-version.cluster.local. 28800 TXT "1.1.0"
1-2-3-4.default.pod.cluster.local. 5 A 1.2.3.4
away.default.svc.cluster.local. 5 CNAME www.example.com.
db.default.svc.cluster.local. 5 A 10.1.1.1
db.default.svc.cluster.local. 5 A 10.1.1.2
db.default.svc.cluster.local. 5 AAAA fd00:1::1
db.default.svc.cluster.local. 5 SRV 0 33 5432 db-0.db.default.svc.cluster.local.
db.default.svc.cluster.local. 5 SRV 0 33 5432 10-1-1-2.db.default.svc.cluster.local.
10-1-1-2.db.default.svc.cluster.local. 5 A 10.1.1.2
10-1-1-2.db.default.svc.cluster.local. 5 SRV 0 100 5432 10-1-1-2.db.default.svc.cluster.local.
_pg._tcp.db.default.svc.cluster.local. 5 SRV 0 33 5432 db-0.db.default.svc.cluster.local.
_pg._tcp.db.default.svc.cluster.local. 5 SRV 0 33 5432 10-1-1-2.db.default.svc.cluster.local.
db-0.db.default.svc.cluster.local. 5 A 10.1.1.1
db-0.db.default.svc.cluster.local. 5 AAAA fd00:1::1
db-0.db.default.svc.cluster.local. 5 SRV 0 50 5432 db-0.db.default.svc.cluster.local.
web.default.svc.cluster.local. 5 A 10.0.0.1
web.default.svc.cluster.local. 5 SRV 0 50 80 web.default.svc.cluster.local.
web.default.svc.cluster.local. 5 SRV 0 50 81 web.default.svc.cluster.local.
10-1-0-1.web.default.svc.cluster.local. 5 A 10.1.0.1
_http._tcp.web.default.svc.cluster.local. 5 SRV 0 100 80 web.default.svc.cluster.local.
10.in-addr.arpa. 5 SOA ns.dns.10.in-addr.arpa. hostmaster.10.in-addr.arpa. 1000 7200 1800 86400 5
10.in-addr.arpa. 5 NS ns.dns.cluster.local.
1.0.0.10.in-addr.arpa. 5 PTR web.default.svc.cluster.local.
1.0.1.10.in-addr.arpa. 5 PTR 10-1-0-1.web.default.svc.cluster.local.
1.1.10.in-addr.arpa. 5 SOA ns.dns.1.1.10.in-addr.arpa. hostmaster.1.1.10.in-addr.arpa. \
1000 7200 1800 86400 5
1.1.10.in-addr.arpa. 5 NS ns.dns.cluster.local.
1.1.1.10.in-addr.arpa. 5 PTR db-0.db.default.svc.cluster.local.
2.1.1.10.in-addr.arpa. 5 PTR 10-1-1-2.db.default.svc.cluster.local.
"""


@pytest.fixture
def filled(cluster):
    cluster.service("web", "10.0.0.1", ports=["http:80/TCP", ":81/TCP"])
    cluster.slice("web-a", "web", "10.1.0.1")
    cluster.service("db", "None", ports=["other:1/TCP"])
    cluster.slice("db-a", "db", "10.1.1.1=db-0", "10.1.1.2", "!10.1.1.3", ports=["pg:5432/TCP"])
    cluster.slice("db-b", "db", "fd00:1::1=db-0", ports=["pg:5432/TCP"])
    cluster.service("away", external="www.example.com")
    cluster.service("idle", "None")
    cluster.service("hidden", "10.0.0.9", namespace="unborn")
    cluster.pod("p", "1.2.3.4")
    return cluster


def test_all_records(filled, text):
    """Everything that the zones answer: names in canonical order, the nearest zone's own."""
    forward = filled.zone(pods="verified", own=[b"\xc0\x00\x02\x01"])
    reverse = filled.reverse("10.in-addr.arpa.")
    inner = filled.reverse("1.1.10.in-addr.arpa.")
    found = text(all_records(forward, reverse, inner))
    assert found == EXPECTED.splitlines()


def test_every_record_set_is_what_a_question_gets(filled):
    zones = (
        filled.zone(pods="verified"),
        filled.reverse("in-addr.arpa."),
        filled.reverse("ip6.arpa."),
    )
    listed = list(all_records(*zones))
    assert len(listed) > 20
    for each in listed:
        zone = next(zone for zone in zones if each.owner.endswith(zone.origin))
        assert zone.lookup(each.owner, each.type).answer == [each]


def test_verified_pods_are_listed_only_by_a_zone_that_verifies(filled, text):
    for mode in ("disabled", "insecure"):
        assert not [line for line in text(all_records(filled.zone(pods=mode))) if ".pod." in line]
