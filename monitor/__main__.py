"""``stser-monitor``, also ``python -m monitor``: a look at the limits, then the program itself."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType


def main() -> int:
    """Run the program where it may have the memory that it needs; returns its exit code."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)
    from monitor.errors import OutOfMemoryError
    from monitor.memory import check_limits

    try:
        # Before anything large is loaded: native code that gets no memory aborts or hangs.
        check_limits()
    except OutOfMemoryError as error:
        sys.stderr.write(f"stser-monitor: {error}\n")
        return error.exit_code
    from monitor.cli import main as run

    return run()


def leave(_number: int, _frame: FrameType | None) -> None:
    """A signal while modules are loaded: there is nothing yet that would have to end in order.

    No exception: native modules make an ImportError of one, and what removes import locks drops it.
    """
    os._exit(0)


if __name__ == "__main__":
    sys.exit(main())
