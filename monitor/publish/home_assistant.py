"""Home Assistant discovery: the monitor as a device with five entities a stream, found by itself.

As https://www.home-assistant.io/integrations/mqtt/#device-discovery-payload documents it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from monitor.publish.wire import to_json
from stser_core.labels import EMOTIONS

STATUS: Final = "status"
"""Below the discovery prefix: where Home Assistant says ``online`` after a restart."""


def discovery_topic(discovery_prefix: str, node: str) -> str:
    """Where Home Assistant looks for this device."""
    return f"{discovery_prefix}/device/{node}/config"


def discovery(node: str, streams: Sequence[str], prefix: str, version: str) -> bytes:
    """The device and its entities, as JSON.

    Args:
        node: Name of this machine.
        streams: Names of its audio streams; of several, each entity's name begins with its stream's.
        prefix: First part of the monitor's topics.
        version: Of the monitor.
    """
    device = f"stser_{node}_{streams[0]}" if streams else f"stser_{node}"
    components: dict[str, dict[str, Any]] = {}
    for stream in streams:
        for name, component in _entities(f"{prefix}/{node}", stream).items():
            if len(streams) > 1:
                component["name"] = f"{stream} {component['name'].lower()}"
            component["unique_id"] = f"stser_{node}_{stream}_{name}"
            components[name if stream == streams[0] else f"{stream}_{name}"] = component
    return to_json(
        {
            "device": {
                "identifiers": [device],
                "name": f"STSER Monitor {node}",
                "model": "STSER Monitor",
                "sw_version": version,
            },
            "origin": {"name": "stser-monitor", "sw_version": version},
            "components": components,
            "availability_topic": f"{prefix}/{node}/availability",
            "qos": 1,
        }
    )


def _entities(node_topic: str, stream: str) -> dict[str, dict[str, Any]]:
    """Of one stream."""
    topic = f"{node_topic}/{stream}"
    options = [*(emotion.value for emotion in EMOTIONS), "uncertain"]
    return {
        "emotion": {
            "platform": "sensor",
            "name": "Emotion",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": options,
            "state_topic": f"{topic}/event/emotion.utterance",
            "value_template": "{{ value_json.data.label }}",
            "json_attributes_topic": f"{topic}/event/emotion.utterance",
            "json_attributes_template": "{{ value_json.data.posterior | tojson }}",
        },
        "state": {
            "platform": "sensor",
            "name": "Emotional state",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": options,
            "state_topic": f"{topic}/state",
            "value_template": "{{ value_json.data.label }}",
        },
        "confidence": {
            "platform": "sensor",
            "name": "Confidence",
            "icon": "mdi:percent",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "suggested_display_precision": 0,
            "state_topic": f"{topic}/event/emotion.utterance",
            "value_template": "{{ value_json.data.confidence * 100 }}",
        },
        "speech": {
            "platform": "binary_sensor",
            "name": "Speech",
            "device_class": "sound",
            "state_topic": f"{topic}/event/+",
            # An empty answer leaves the entity as it is.
            "value_template": "{% if 'speech.started' in value_json.type %}ON"
            "{% elif 'speech.ended' in value_json.type %}OFF{% endif %}",
        },
        "mute": {
            "platform": "switch",
            "name": "Mute",
            "icon": "mdi:microphone-off",
            "command_topic": f"{node_topic}/cmd",
            "payload_on": to_json({"type": "mute", "stream": stream}).decode(),
            "payload_off": to_json({"type": "unmute", "stream": stream}).decode(),
            "state_topic": f"{topic}/muted",
            "state_on": "ON",
            "state_off": "OFF",
        },
    }
