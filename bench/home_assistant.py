"""What a real Home Assistant makes of the monitor: its entities after an utterance, and while muted.

    STSER_HASS=/path/to/hass python -m bench.home_assistant [--markdown]

``hass`` comes from a Python of its own: ``pip install homeassistant paho-mqtt``. A real broker is between them.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.e2e.test_home_assistant import AUTOMATION, NAMES, flags, shown
from tests.support.broker import running_mosquitto
from tests.support.home_assistant import running_home_assistant
from tests.support.monitor_process import running_monitor

PAGE = Path(__file__).parents[1] / "docs" / "results" / "home-assistant.md"
TOLD = ("device_class", "unit_of_measurement", "options", "angry", "happy", "neutral", "sad")
"""Attributes that the page shows."""


async def seen(folder: Path) -> tuple[str, dict[str, Any]]:
    """Version of Home Assistant, and its states."""
    (folder / "home").mkdir()
    with (
        running_mosquitto(folder) as broker,
        running_home_assistant(folder / "home", broker.port, AUTOMATION) as home,
    ):
        async with running_monitor(*flags(folder, broker.url)) as monitor:
            states = await shown(home, monitor)
            await monitor.end()
        return home.version(), states


def page(version: str, states: dict[str, Any]) -> str:
    """docs/results/home-assistant.md."""
    lines = [
        "# The monitor in Home Assistant",
        "",
        "`STSER_HASS=/path/to/hass python -m bench.home_assistant --markdown` wrote this page: Home Assistant",
        f"{version}, set up over its own interface, with a real mosquitto and the monitor's `--ha-discovery`.",
        "The states are those of its REST interface after one utterance, and after its switch was turned on.",
        "`tests/e2e/test_home_assistant.py` holds them to the events, and runs the automation of",
        "[clients.md](../clients.md).",
        "",
        "| entity | name | after an utterance | muted | attributes |",
        "|---|---|---|---|---|",
    ]
    for entity in NAMES.values():
        heard, silent = states["heard"][entity], states["silent"][entity]
        about = heard["attributes"]
        told = ", ".join(f"{key}: {about[key]}" for key in TOLD if key in about)
        name = about["friendly_name"]
        lines.append(f"| `{entity}` | {name} | {heard['state']} | {silent['state']} | {told} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Ask, print, and write where asked to."""
    flags_ = argparse.ArgumentParser(prog="python -m bench.home_assistant", description=__doc__)
    flags_.add_argument("--markdown", action="store_true", help=f"rewrite {PAGE.name}")
    given = flags_.parse_args()
    if not os.environ.get("STSER_HASS"):
        raise SystemExit("STSER_HASS names no hass. Install Home Assistant, and name its program.")
    with tempfile.TemporaryDirectory() as folder:
        text = page(*asyncio.run(seen(Path(folder))))
    sys.stdout.write(text)
    if given.markdown:
        PAGE.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
