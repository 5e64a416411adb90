"""`bind`: addresses, interfaces, and exceptions."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize(
    ("lines", "hosts"),
    [
        ("bind 127.0.0.1", ["127.0.0.1"]),
        ("bind 127.0.0.1 ::1", ["127.0.0.1", "::1"]),
        ("bind 127.0.0.1\nbind ::1 127.0.0.1", ["127.0.0.1", "::1"]),
        ("bind 0:0:0:0:0:0:0:1", ["::1"]),
        ("bind FD00::5", ["fd00::5"]),
        ("bind 0.0.0.0", ["0.0.0.0"]),
        ("bind lo", ["127.0.0.1", "::1"]),
        ("bind lo eth0", ["127.0.0.1", "::1", "10.0.0.5", "fd00::5", "fe80::5%eth0"]),
        ("bind lo 127.0.0.1", ["127.0.0.1", "::1"]),
        ("bind eth0 {\n except fe80::5\n}", ["10.0.0.5", "fd00::5"]),
        ("bind eth0 lo {\n except fe80::5 lo\n except 10.0.0.5\n}", ["fd00::5"]),
        ("bind eth0 {\n except lo\n}", ["10.0.0.5", "fd00::5", "fe80::5%eth0"]),
        ("bind eth0 {\n except FE80::5%eth0\n}", ["10.0.0.5", "fd00::5"]),
        ("bind FE80::5%eth0", ["fe80::5%eth0"]),
        ("bind eth0 fe80::5%eth0 ", ["10.0.0.5", "fd00::5", "fe80::5%eth0"]),
        ("bind fd00::5%eth0 fd00::5", ["fd00::5"]),
        ("bind 192.0.2.1", ["192.0.2.1"]),
        ("whoami", [""]),
    ],
)
def test_hosts(planned, lines: str, hosts: list[str]) -> None:
    made = planned(f". {{\n{lines}\n}}")
    assert [endpoint.host for endpoint in made.plan.routers] == hosts
    assert {endpoint.port for endpoint in made.plan.routers} == {53}


@pytest.mark.parametrize(
    ("line", "says", "place"),
    [
        ("bind", "an argument is missing after 'bind'", (2, 1)),
        (
            "bind eth9",
            "'eth9' is neither an address nor an interface with one: write an address, or one of",
            (2, 6),
        ),
        ("bind 127.0.0.1:53", "is neither an address nor an interface", (2, 6)),
        ("bind fe80::5%", "is neither an address nor an interface", (2, 6)),
        ("bind 10.0.0.0/8", "is neither an address nor an interface", (2, 6)),
        ("bind lo {\n except eth9\n}", "'eth9' is neither", (3, 9)),
        ("bind lo {\n except\n}", "an argument is missing", (3, 2)),
        ("bind lo {\n only ::1\n}", "bind has no property 'only'", (3, 2)),
        ("bind lo {\n except lo\n}", "nothing is left to listen on", (2, 1)),
    ],
)
def test_refused(refused, line: str, says: str, place: tuple[int, int]) -> None:
    message, found = refused(f". {{\n{line}\n}}")
    assert says in message
    assert found == place


def test_each_block_has_its_own(planned) -> None:
    made = planned(". {\n bind lo\n whoami\n}\norg {\n bind eth0\n whoami\n}")
    by_host = {endpoint.host: router for endpoint, router in made.plan.routers.items()}
    assert by_host["127.0.0.1"].route(b"\3org\0", 1).zone == "."
    assert by_host["10.0.0.5"].route(b"\3org\0", 1).zone == "org."
    assert by_host["10.0.0.5"].route(b"\3net\0", 1) is None


def test_the_label_of_a_link_local_address(planned) -> None:
    made = planned(". {\n bind fe80::5%eth0\n whoami\n}")
    assert [endpoint.server for endpoint in made.plan.routers] == ["dns://[fe80::5%eth0]:53"]
