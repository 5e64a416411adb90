from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kdns.records.prefixes import Prefixes


@pytest.mark.parametrize("size", [4, 16])
@given(data=st.data())
def test_prefixes_are_those_of_the_addresses(size, data):
    """Bytes are of two values, so that addresses have neighbours at every depth."""
    byte = st.sampled_from([0, 1])
    address = st.lists(byte, min_size=size, max_size=size).map(bytes)
    added = data.draw(st.lists(address, max_size=12))
    removed = data.draw(st.permutations(added))[: len(added) // 2]
    prefixes = Prefixes()
    prefixes.add(added)
    left = list(added)
    for each in removed:
        prefixes.remove(each)
        left.remove(each)
    for probe in (*added, bytes(size), bytes([1]) * size):
        for depth in range(1, size):
            here = probe[:depth]
            assert (here in prefixes) == any(each.startswith(here) for each in left)
