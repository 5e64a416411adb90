from __future__ import annotations

import pytest

from kdns.corefile.tokens import CorefileError, Position, Token
from kdns.corefile.zones import Listener, is_preferred, origins, refuse_overlap, zone_keys


def token(text: str, line: int = 1) -> Token:
    return Token(text, Position("Corefile", line, 1))


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (".", ["dns://.:53"]),
        (".:1053", ["dns://.:1053"]),
        ("example.org", ["dns://example.org.:53"]),
        ("example.org.", ["dns://example.org.:53"]),
        ("Example.ORG:1053", ["dns://example.org.:1053"]),
        ("localhost", ["dns://localhost.:53"]),
        ("dns://.", ["dns://.:53"]),
        ("dns://example.org:1053", ["dns://example.org.:1053"]),
        ("tls://example.org", ["tls://example.org.:853"]),
        ("quic://example.org", ["quic://example.org.:853"]),
        ("https://.", ["https://.:443"]),
        ("https://.:8443", ["https://.:8443"]),
        ("https3://.", ["https3://.:443"]),
        ("grpc://.", ["grpc://.:443"]),
        (".:0", ["dns://.:0"]),
        (".:+53", ["dns://.:53"]),
        (".:00053", ["dns://.:53"]),
        ("10.0.0.0/8", ["dns://10.in-addr.arpa.:53"]),
        ("10.0.0.0/24:53", ["dns://0.0.10.in-addr.arpa.:53"]),
        ("10.1.2.3/24", ["dns://2.1.10.in-addr.arpa.:53"]),
        ("10.1.2.3/32", ["dns://3.2.1.10.in-addr.arpa.:53"]),
        ("10.0.0.0/08", ["dns://10.in-addr.arpa.:53"]),
        ("0.0.0.0/0", ["dns://in-addr.arpa.:53"]),
        (
            "10.1.2.0/23:1053",
            ["dns://2.1.10.in-addr.arpa.:1053", "dns://3.1.10.in-addr.arpa.:1053"],
        ),
        ("10.1.2.0/31", ["dns://0.2.1.10.in-addr.arpa.:53", "dns://1.2.1.10.in-addr.arpa.:53"]),
        ("2001:db8::/32", ["dns://8.b.d.0.1.0.0.2.ip6.arpa.:53"]),
        ("2001:DB8::/32:1053", ["dns://8.b.d.0.1.0.0.2.ip6.arpa.:1053"]),
        ("tls://fd00::/8", ["tls://d.f.ip6.arpa.:853"]),
        ("fd00::/7", ["dns://c.f.ip6.arpa.:53", "dns://d.f.ip6.arpa.:53"]),
        ("64:ff9b::1.2.3.4/96", ["dns://" + "0." * 16 + "b.9.f.f.4.6.0.0.ip6.arpa.:53"]),
        ("0/25.2.0.192.in-addr.arpa", ["dns://0/25.2.0.192.in-addr.arpa.:53"]),
        # No CIDRs to CoreDNS either, hence names.
        ("10.0.0.0/33", ["dns://10.0.0.0/33.:53"]),
        ("010.0.0.0/8", ["dns://010.0.0.0/8.:53"]),
        ("10.0.0.1", ["dns://10.0.0.1.:53"]),
        ("fe80::%eth0/64", ["dns://fe80::%eth0/64.:53"]),
        ("[::1]:53", ["dns://[::1].:53"]),
        ("::1", ["dns://:.:1"]),
        ("http://example.org", ["dns://http://example.org.:53"]),
        (r"a\.b", [r"dns://a\.b.:53"]),
        (r"\065.org", ["dns://a.org.:53"]),
        ("é.org", [r"dns://\195\169.org.:53"]),
        ("x" * 63, [f"dns://{'x' * 63}.:53"]),
    ],
)
def test_keys(key: str, expected: list[str]) -> None:
    found = zone_keys(token(key))
    assert [str(zone) for zone in found] == expected
    assert {zone.position for zone in found} == {Position("Corefile", 1, 1)}


def test_default_port_is_for_plain_dns() -> None:
    assert [zone_keys(token(key), 1053)[0].port for key in ("a", "dns://a", "tls://a", "a:53")] == [
        1053,
        1053,
        853,
        53,
    ]


def test_classless_masks_are_expanded_to_their_last_zone() -> None:
    zones = [key.zone for key in zone_keys(token("10.0.0.0/9"))]
    assert zones == [f"{second}.10.in-addr.arpa." for second in range(128)]


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("", "has no zone"),
        (":53", 'has no zone: write "." for the root'),
        ("tls://", "has no zone"),
        ("example.org:", "lacks its port"),
        (":", "lacks its port"),
        (".:65536", "ports are from 0 to 65535"),
        (".:-1", "ports are from 0 to 65535"),
        (".:" + "9" * 5000, "ports are from 0 to 65535"),
        ("a..b", "empty label"),
        (".a", "empty label"),
        ("..", "empty label"),
        ("x" * 64, "longer than 63 bytes"),
        ("é" * 32, "longer than 63 bytes"),
        (".".join(["x" * 63] * 4), "longer than 255 bytes"),
        ("a\\", "unfinished escape"),
        ("::/0", "starts with a zero field"),
        ("0::/8", "starts with a zero field"),
        ("::1/128:53", "starts with a zero field"),
        ("unix:///run/dns", "no server listens on unix://"),
    ],
    ids=lambda text: text[:30],
)
def test_refused_keys(key: str, message: str) -> None:
    with pytest.raises(CorefileError, match=message) as caught:
        zone_keys(token(key))
    assert str(caught.value).startswith("Corefile:1:1: ")


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("cluster.local", ("cluster.local.",)),
        ("Cluster.Local.", ("cluster.local.",)),
        (".", (".",)),
        ("dns://example.org:53", ("example.org.",)),
        ("unix://example.org", ("example.org.",)),
        ("10.96.0.0/12", tuple(f"{second}.10.in-addr.arpa." for second in range(96, 112))),
        ("fd00::/8", ("d.f.ip6.arpa.",)),
        ("", ()),
    ],
)
def test_origins_of_a_plugins_argument(argument: str, expected: tuple[str, ...]) -> None:
    assert origins(token(argument)) == expected


def test_an_origin_that_is_no_name_is_refused() -> None:
    with pytest.raises(CorefileError, match="empty label"):
        origins(token("a..b"))


@pytest.mark.parametrize(
    ("zone", "expected"),
    [
        (".", True),
        ("cluster.local.", True),
        ("10.in-addr.arpa.", True),
        ("d.f.ip6.arpa.", True),
        ("in-addr.arpa.", True),
        ("}.", False),
        ("a,b.", False),
        ("-a.", False),
        ("_tcp.example.", False),
        ("http://example.org.", False),
    ],
)
def test_preferred_syntax(zone: str, expected: bool) -> None:
    assert is_preferred(zone) is expected


def listeners(*places: tuple[str, str, bool]) -> list[Listener]:
    return [
        Listener(zone_keys(token(key, line))[0], address, filtered)
        for line, (key, address, filtered) in enumerate(places, 1)
    ]


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([("a", "", False), ("b", "", False)], id="zones"),
        pytest.param([("a", "", False), ("a:1053", "", False)], id="ports"),
        pytest.param([("a:53", "", False), ("tls://a:53", "", False)], id="transports"),
        pytest.param([("a", "10.0.0.1", False), ("a", "10.0.0.2", False)], id="addresses"),
        pytest.param([("a", "", True), ("a", "", True), ("a", "", False)], id="views"),
    ],
)
def test_what_may_stand_side_by_side(places: list[tuple[str, str, bool]]) -> None:
    refuse_overlap(listeners(*places))


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([("a", "", False), ("A.:53", "", False)], id="the same"),
        pytest.param([("a", "10.0.0.1", False), ("a", "10.0.0.1", False)], id="address"),
        pytest.param([("a", "", False), ("a", "10.0.0.1", False)], id="everywhere, then one"),
        pytest.param([("a", "10.0.0.1", False), ("a", "", False)], id="one, then everywhere"),
        pytest.param([("a", "", False), ("a", "", True)], id="a view after all"),
        pytest.param([("10.0.0.0/23", "", False), ("10.0.0.0/24", "", False)], id="CIDRs"),
    ],
)
def test_overlap_names_both_places(places: list[tuple[str, str, bool]]) -> None:
    with pytest.raises(CorefileError, match="served by Corefile:1:1 already") as caught:
        refuse_overlap(listeners(*places))
    assert caught.value.position == Position("Corefile", 2, 1)
