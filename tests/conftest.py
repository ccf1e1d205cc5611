"""Settings every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

settings.register_profile("stser", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stser"))
