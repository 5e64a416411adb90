"""The interface, on a kernel that is told here what it can do."""

from __future__ import annotations

import errno

import pytest

from kdns.node import interface
from kdns.node.interface import Interface
from kdns.node.journal import Journal
from kdns.node.links import Address, Link
from kdns.node.netlink import Refused
from kdns.node.settings import Settings

NAME, IPV4, IPV6 = "nodelocaldns", "169.254.20.10", "fd00:96::10"


class Kernel:
    """Devices and addresses of a network namespace, with dummy links unless it is `refusing`."""

    def __init__(self):
        self.devices = {}
        self.has = []
        self.refusing = None

    def __call__(self):
        return self

    def close(self):
        pass

    def find(self, name):
        return self.devices.get(name)

    def name_of(self, number):
        return next(each.name for each in self.devices.values() if each.number == number)

    def add_dummy(self, name):
        if self.refusing:
            raise self.refusing
        self.devices[name] = Link(len(self.devices) + 1, name, "dummy", False)

    def delete(self, number):
        del self.devices[self.name_of(number)]
        self.has = [each for each in self.has if each.device != number]

    def keep_plain(self, number):
        pass

    def set_up(self, number):
        name = self.name_of(number)
        self.devices[name] = self.devices[name]._replace(up=True)

    def addresses(self):
        return list(self.has)

    def add_address(self, text, number):
        self.has.append(Address(text, number, True))

    def delete_address(self, text, number):
        self.has.remove(Address(text, number, True))


class Marks:
    def __init__(self):
        self.others = False

    def hold(self, share):
        assert share == "interface"

    def release(self, share):
        return not self.others


@pytest.fixture
def kernel(monkeypatch):
    made = Kernel()
    made.devices["lo"] = Link(1, "lo", "", True)
    monkeypatch.setattr(interface, "Links", made)
    return made


def _interface(*addresses, **settings):
    lines = []
    journal = Journal(lines.append)
    marks = Marks()
    return Interface(Settings(addresses, **settings), marks, journal), marks, journal, lines


@pytest.mark.parametrize(
    ("addresses", "up"), [((IPV4,), False), ((IPV4, IPV6), True)], ids=["ipv4", "ipv6"]
)
def test_dummy_is_made_and_deleted(kernel, addresses, up):
    made, _, _, lines = _interface(*addresses)
    made.ensure()
    made.ensure()
    assert kernel.devices[NAME] == Link(2, NAME, "dummy", up)
    assert kernel.has == [Address(each, 2, True) for each in addresses]
    made.release()
    assert set(kernel.devices) == {"lo"}
    assert lines == []


def test_dummy_that_was_left_is_taken_over(kernel):
    kernel.add_dummy(NAME)
    kernel.has.append(Address(IPV4, 2, False))
    made, *_ = _interface(IPV4)
    made.ensure()
    assert kernel.has == [Address(IPV4, 2, False)]
    made.release()
    assert set(kernel.devices) == {"lo"}


@pytest.mark.parametrize("why", ["others", "skip_teardown"])
def test_dummy_stays(kernel, why):
    made, marks, _, _ = _interface(IPV4, skip_teardown=why == "skip_teardown")
    made.ensure()
    marks.others = why == "others"
    made.release()
    assert set(kernel.devices) == {"lo", NAME}


def test_what_is_gone_comes_back(kernel):
    made, *_ = _interface(IPV4)
    made.ensure()
    kernel.delete(2)
    made.ensure()
    assert kernel.has == [Address(IPV4, 2, True)]


def test_addresses_of_others_stay(kernel):
    kernel.has.append(Address(IPV4, 1, False))
    made, *_ = _interface(IPV4, IPV6, interface="lo")
    made.ensure()
    assert kernel.has == [Address(IPV4, 1, False), Address(IPV6, 1, True)]
    made.release()
    assert kernel.has == [Address(IPV4, 1, False)]


def test_errors_are_counted_by_when_they_come(kernel):
    kernel.refusing = Refused(errno.EPERM, "Operation not permitted")
    made, _, journal, lines = _interface(IPV4)
    made.ensure()
    made.ensure()
    assert journal.setup_errors["interface_add"] == 1
    assert journal.setup_errors["interface_check"] == 1
    assert (
        lines
        == [
            (
                f"[ERROR] cannot use the interface {NAME}: Operation not permitted: "
                "give the container NET_ADMIN, or say -setupinterface=false\n"
            )
        ]
        * 2
    )


def test_interface_that_is_not_to_be_made(kernel):
    made, *_ = _interface(IPV4, setup_interface=False)
    made.ensure()
    made.release()
    assert set(kernel.devices) == {"lo"}
    assert kernel.has == []
