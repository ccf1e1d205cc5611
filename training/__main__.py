"""``stser-train``, ``python -m training`` and ``accelerate launch --module training``."""

from __future__ import annotations

import sys


def main() -> int:
    """Run one command; says so where the packages of training are not installed."""
    try:
        from training.cli import main as run
    except ModuleNotFoundError as error:
        sys.stderr.write(
            f'stser-train: {error.name} is missing: pip install "stser-monitor[train]".\n'
        )
        return 2
    return run()


if __name__ == "__main__":
    sys.exit(main())
