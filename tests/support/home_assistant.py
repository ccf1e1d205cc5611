"""A real Home Assistant with its MQTT integration, set up over its own REST interface as its pages do it.

It needs a Python of its own: ``pip install homeassistant paho-mqtt`` there, and ``STSER_HASS`` names its ``hass``.
"""

from __future__ import annotations

import json
import os
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import end, free_port

START_S = 120.0
POLL_S = 0.2
_LIGHT = """
input_boolean:
  lamp:
light:
  - platform: template
    lights:
      living_room:
        turn_on: {action: input_boolean.turn_on, target: {entity_id: input_boolean.lamp}}
        turn_off: {action: input_boolean.turn_off, target: {entity_id: input_boolean.lamp}}
        set_level: {action: input_boolean.turn_on, target: {entity_id: input_boolean.lamp}}
        set_temperature: {action: input_boolean.turn_on, target: {entity_id: input_boolean.lamp}}
"""


def program() -> str:
    """The ``hass`` that ``STSER_HASS`` names; without it the test is skipped."""
    named = os.environ.get("STSER_HASS")
    if not named:
        pytest.skip("STSER_HASS names no hass: there is no Home Assistant to ask")
    return named


class HomeAssistant:
    """A running instance, asked over REST."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._token = ""

    def version(self) -> str:
        return str(self._ask("/api/config")["version"])

    def states(self) -> dict[str, dict[str, Any]]:
        """Every entity that comes from a device, by its name."""
        return {state["entity_id"]: state for state in self._ask("/api/states")}

    def call(self, domain: str, service: str, entity: str) -> None:
        """Have something done to an entity."""
        self._ask(f"/api/services/{domain}/{service}", {"entity_id": entity})

    def until(self, ready: Callable[[dict[str, dict[str, Any]]], bool]) -> dict[str, Any]:
        """Wait for states; returns them."""
        deadline_s = time.monotonic() + 30
        while not ready(states := self.states()):
            if time.monotonic() > deadline_s:
                shown = {name: state["state"] for name, state in states.items()}
                raise AssertionError(f"these states did not come; there are {shown}")
            time.sleep(POLL_S)
        return states

    def set_up(self, broker_port: int) -> None:
        """The first user, then the MQTT integration."""
        person = {"name": "Test", "username": "test", "password": "test-test", "language": "en"}
        asked = {"client_id": f"{self._base}/", **person}
        code = self._ask("/api/onboarding/users", asked)["auth_code"]
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "client_id": f"{self._base}/",
        }
        body = urllib.parse.urlencode(form).encode()
        with urllib.request.urlopen(f"{self._base}/auth/token", body) as answer:
            self._token = json.load(answer)["access_token"]
        flow = self._ask("/api/config/config_entries/flow", {"handler": "mqtt"})
        done = self._ask(
            f"/api/config/config_entries/flow/{flow['flow_id']}",
            {"broker": "127.0.0.1", "port": broker_port},
        )
        assert done["type"] == "create_entry", done

    def reload_automations(self) -> None:
        self._ask("/api/services/automation/reload", {})

    def answers(self) -> bool:
        try:
            return bool(self._ask("/api/onboarding"))
        except (OSError, ValueError):
            return False

    def _ask(self, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(
            self._base + path, None if body is None else json.dumps(body).encode()
        )
        request.add_header("Content-Type", "application/json")
        if self._token:
            request.add_header("Authorization", f"Bearer {self._token}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)


@contextmanager
def running_home_assistant(
    folder: Path, broker_port: int, automation: Path
) -> Iterator[HomeAssistant]:
    """Home Assistant with a broker, a lamp and an automation."""
    port = free_port()
    (folder / "configuration.yaml").write_text(
        f"http: {{server_host: 127.0.0.1, server_port: {port}}}\napi:\nconfig:\nonboarding:\n"
        f"automation: !include automations.yaml\n{_LIGHT}"
    )
    automations = folder / "automations.yaml"
    automations.write_text("[]")
    with (folder / "hass.log").open("wb") as log:
        process = subprocess.Popen(
            [program(), "--config", str(folder), "--skip-pip"], stdout=log, stderr=log
        )
    try:
        asked = HomeAssistant(port)
        deadline_s = time.monotonic() + START_S
        while not asked.answers():
            if process.poll() is not None or time.monotonic() > deadline_s:
                raise RuntimeError(
                    f"no Home Assistant:\n{(folder / 'hass.log').read_text()[-2000:]}"
                )
            time.sleep(POLL_S)
        asked.set_up(broker_port)
        # Only now can triggers of MQTT be set up.
        rule = automation.read_text("utf-8").splitlines()
        automations.write_text("\n".join(["- id: example", *(f"  {line}" for line in rule)]))
        asked.reload_automations()
        yield asked
    finally:
        end(process)
