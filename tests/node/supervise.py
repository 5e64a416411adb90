"""`supervise.py SETTINGS COMMAND...`: a supervisor with the settings, as JSON, and that child."""

import json
import sys

from kdns.node.journal import Journal
from kdns.node.settings import Settings
from kdns.node.supervisor import Supervisor

if __name__ == "__main__":
    told = json.loads(sys.argv[1])
    told["addresses"] = tuple(told["addresses"])
    raise SystemExit(Supervisor(Settings(**told), sys.argv[2:], Journal()).run())
