"""Home Assistant itself: it finds the monitor, shows what is heard, mutes it, and runs the automation of the page."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiomqtt
import numpy as np
import pytest

from monitor.events import StateChanged
from tests.support.broker import running_mosquitto
from tests.support.happenings import encoded
from tests.support.home_assistant import HomeAssistant, program, running_home_assistant
from tests.support.monitor_process import RunningMonitor, running_monitor
from tests.support.speech import silence, spoken, write_wav

AUTOMATION = Path(__file__).parents[2] / "examples" / "home-assistant.yaml"
NAMES = {
    "emotion": "sensor.stser_monitor_robot_emotion",
    "state": "sensor.stser_monitor_robot_emotional_state",
    "confidence": "sensor.stser_monitor_robot_confidence",
    "speech": "binary_sensor.stser_monitor_robot_speech",
    "mute": "switch.stser_monitor_robot_mute",
}
SAD = StateChanged("sad", 0, 0.9, {"angry": 0.0, "happy": 0.0, "neutral": 0.1, "sad": 0.9})


def flags(folder: Path, broker_url: str) -> list[str | Path]:
    talk = [spoken("leave me alone", before_s=3, after_s=0.6), silence(200)]
    path = write_wav(folder / "talk.wav", np.concatenate(talk))
    return [
        *("--input", path, "--pace", "realtime", "--ws-port", "0", "--node", "robot"),
        *("--mqtt-url", broker_url, "--ha-discovery"),
    ]


async def shown(home: HomeAssistant, monitor: RunningMonitor) -> dict[str, Any]:
    """The entities after an utterance, and then while muted."""
    (uttered,) = await monitor.wait_for("emotion.utterance")
    label = uttered["data"]["label"]
    heard = await asyncio.to_thread(
        home.until, lambda states: states.get(NAMES["emotion"], {}).get("state") == label
    )
    await asyncio.to_thread(home.call, "switch", "turn_on", NAMES["mute"])
    (muted,) = await monitor.wait_for("device.muted")
    assert muted["data"]["by"] == "command"
    silent = await asyncio.to_thread(
        home.until, lambda states: states[NAMES["mute"]]["state"] == "on"
    )
    await asyncio.to_thread(home.call, "switch", "turn_off", NAMES["mute"])
    await monitor.wait_for("device.muted", 2)
    await asyncio.to_thread(home.until, lambda states: states[NAMES["mute"]]["state"] == "off")
    return {"uttered": uttered, "heard": heard, "silent": silent}


@pytest.mark.timeout(300)
def test_home_assistant_finds_the_monitor_shows_what_it_hears_and_mutes_it(tmp_path: Path) -> None:
    program()

    async def main() -> None:
        with running_mosquitto(tmp_path) as broker:
            (tmp_path / "home").mkdir()
            arguments = tmp_path / "home", broker.port, AUTOMATION
            with running_home_assistant(*arguments) as home:
                async with running_monitor(*flags(tmp_path, broker.url)) as monitor:
                    seen = await shown(home, monitor)
                    data, heard = seen["uttered"]["data"], seen["heard"]
                    assert set(NAMES.values()) <= heard.keys()
                    emotion = heard[NAMES["emotion"]]
                    assert emotion["attributes"]["options"] == [*data["posterior"], "uncertain"]
                    assert emotion["attributes"]["angry"] == data["posterior"]["angry"]
                    confidence = float(heard[NAMES["confidence"]]["state"])
                    assert confidence == pytest.approx(100 * data["confidence"])
                    assert heard[NAMES["speech"]]["state"] in {"on", "off"}
                    await monitor.end()
                await asyncio.to_thread(
                    home.until, lambda states: states[NAMES["mute"]]["state"] == "unavailable"
                )
                await told_to_be_sad(broker.port)
                await asyncio.to_thread(
                    home.until, lambda states: states["light.living_room"]["state"] == "on"
                )

    asyncio.run(main())


async def told_to_be_sad(port: int) -> None:
    (event,) = encoded(SAD)
    async with aiomqtt.Client("127.0.0.1", port) as client:
        await client.publish("stser/robot/mic/state", json.dumps(json.loads(event.body)), qos=1)
