"""Settings and fixtures that every test shares."""

from __future__ import annotations

import os

from hypothesis import settings

from tests.support.broker import mosquitto
from tests.support.virtual_microphone import in_process_microphone, virtual_microphone

__all__ = ["in_process_microphone", "mosquitto", "virtual_microphone"]

settings.register_profile("stser", deadline=None, derandomize=True)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "stser"))
