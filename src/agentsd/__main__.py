"""``agentsd`` and ``python -m agentsd``."""

from __future__ import annotations

from agentsd.cli.main import main

if __name__ == "__main__":
    main()
