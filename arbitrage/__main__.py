"""`python -m arbitrage` is the command `arbitrage`."""

from __future__ import annotations

import sys

from arbitrage.cli import main

sys.exit(main())
