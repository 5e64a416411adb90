"""`python -m kdns`, and the programs `kdns` and `node-cache`."""

from __future__ import annotations

import os
import sys


def main() -> int:
    """Run the command line of this process; the exit code."""
    words = sys.argv[1:]
    by_name = os.path.basename(sys.argv[0]) == "node-cache"  # noqa: PTH119 - without pathlib
    if by_name or words[:1] == ["node-cache"]:
        # A supervisor that is to stay small, and not the rest of the house.
        from kdns.node_cache import main as node_cache  # noqa: PLC0415

        return node_cache(words if by_name else words[1:])
    from kdns.cli import main as command  # noqa: PLC0415 - as above

    return command(words)


if __name__ == "__main__":
    raise SystemExit(main())
