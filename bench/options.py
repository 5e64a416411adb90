"""What the commands of the benchmark share in their options."""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING

from bench.servers import Cores

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """The type of an option that takes names with commas between them."""

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        if unknown := [name for name in chosen if name not in known]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: not one of {', '.join(known)}")
        return chosen

    return names


def two_cores() -> Cores:
    """The first two cores this process may use. Exits where there is only one."""
    usable = sorted(os.sched_getaffinity(0))
    if len(usable) < 2:
        sys.exit("two cores are needed: one for the server, one for the load")
    return Cores(*usable[:2])
