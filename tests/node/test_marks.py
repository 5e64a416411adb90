"""Marks of live instances."""

from __future__ import annotations

import os

from kdns.node.marks import Marks

INTERFACE = f"test-{os.getpid()}"


def test_the_last_one_knows():
    one, two = Marks(INTERFACE), Marks(INTERFACE)
    for each in (one, two, one):
        each.hold("interface")
    two.hold("rules")
    assert two.release("interface") is False
    assert one.release("interface") is True
    assert two.release("interface") is True
    assert one.release("rules") is False
    assert two.release("rules") is True


def test_other_interfaces_are_others():
    one, two = Marks(INTERFACE), Marks(f"{INTERFACE}-2")
    two.hold("interface")
    assert one.release("interface") is True
    assert two.release("interface") is True


def test_marks_of_others_cannot_be_read():
    one, two = Marks(INTERFACE, "/nonexistent"), Marks(INTERFACE)
    two.hold("interface")
    assert one.release("interface") is True
    assert two.release("interface") is True
