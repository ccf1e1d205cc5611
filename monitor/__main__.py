"""``stser-monitor``, also ``python -m monitor``: a look at the limits, then the program itself."""

from __future__ import annotations

import sys

from monitor.errors import OutOfMemoryError
from monitor.memory import check_limits


def main() -> int:
    """Run the program where it may have the memory that it needs; returns its exit code."""
    try:
        # Before anything large is loaded: native code that gets no memory aborts or hangs.
        check_limits()
    except OutOfMemoryError as error:
        sys.stderr.write(f"stser-monitor: {error}\n")
        return error.exit_code
    from monitor.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
