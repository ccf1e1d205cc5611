"""``python -m monitor`` is ``stser-monitor``."""

import sys

from monitor.cli import main

sys.exit(main())
