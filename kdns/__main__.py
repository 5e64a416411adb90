"""`python -m kdns`, and the programs `kdns` and `node-cache`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line of this process; the exit code."""
    words = sys.argv[1:]
    if words[:1] == ["node-cache"]:
        return _node_cache(words[1:])
    # In NodeLocal's manifest with another image, arguments are all that says what is wanted.
    if os.path.basename(sys.argv[0]) == "node-cache" or _names_addresses(words):  # noqa: PTH119
        return _node_cache(words)
    from kdns.cli import main as command  # noqa: PLC0415 - as below

    return command(words)


def _names_addresses(words: list[str]) -> bool:
    """Whether there is a flag that node-cache cannot do without, and nothing else has."""
    return any(word.partition("=")[0] in ("-localip", "--localip") for word in words)


def _node_cache(words: list[str]) -> int:
    # A supervisor that is to stay small, and not the rest of the house.
    from kdns.node_cache import main as node_cache  # noqa: PLC0415

    return node_cache(words)


if __name__ == "__main__":
    raise SystemExit(main())
