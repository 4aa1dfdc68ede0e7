"""`python -m infonce`: the same as the `infonce` command."""

from __future__ import annotations

import sys

from infonce.conformance.cli import main

if __name__ == "__main__":
    sys.exit(main())
