"""`python -m flows NAME`: run one flow with this process's environment."""

from __future__ import annotations

import os
import sys

from flows.run import FLOWS, run_flow

if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1] not in FLOWS:
        sys.exit(f"usage: python -m flows {{{','.join(FLOWS)}}}")
    sys.exit(run_flow(sys.argv[1], os.environ))
