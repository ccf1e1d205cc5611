"""``python -m training``, and ``accelerate launch --module training``: the same as ``stser-train``."""

import sys

from training.cli import main

sys.exit(main())
