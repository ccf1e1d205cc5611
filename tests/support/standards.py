"""Schemas that others publish. They are not ours to pass on: put them beside the checkout, or name their folder."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

BESIDE: Path = Path(__file__).parents[3] / "shared" / "standards"


def standard(name: str) -> Path:
    """A published file, such as ``cloudevents/cloudevents.json``; skips the test where there is none."""
    path = Path(os.environ.get("STSER_STANDARDS") or BESIDE) / name
    if not path.is_file():
        pytest.skip(f"{path} is not there: name the folder of published schemas in STSER_STANDARDS")
    return path
