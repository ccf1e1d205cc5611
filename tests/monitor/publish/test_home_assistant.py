"""Discovery held to the fields that Home Assistant documents, and its templates rendered."""

from __future__ import annotations

import json
from typing import Any

import jinja2
import pytest

from monitor.commands import Mute, Unmute, parse
from monitor.events import Happening, SpeechBegan, SpeechEnded
from monitor.publish.home_assistant import discovery, discovery_topic
from tests.support.happenings import EVERY, STATE, UTTERANCE, data_of, encoded

COMMON = {"platform", "name", "icon", "unique_id", "state_topic", "value_template"}
DOCUMENTED = {
    "sensor": COMMON
    | {
        *("device_class", "options", "json_attributes_topic", "json_attributes_template"),
        *("unit_of_measurement", "state_class", "suggested_display_precision"),
    },
    "binary_sensor": COMMON | {"device_class", "payload_on", "payload_off"},
    "switch": COMMON | {"command_topic", "payload_on", "payload_off", "state_on", "state_off"},
}
"""Keys of https://www.home-assistant.io/integrations/{sensor,binary_sensor,switch}.mqtt that are used."""

TREE: Any = json.loads(discovery("node", ["mic"], "stser", "1.0.0"))


def shown(component: str, happening: Happening) -> str:
    """What Home Assistant makes of an event."""
    (event,) = encoded(happening)
    environment = jinja2.Environment(autoescape=False)
    environment.filters["tojson"] = json.dumps
    template = environment.from_string(TREE["components"][component]["value_template"])
    return template.render(value_json=json.loads(event.body))


def test_device_says_what_it_is_and_when_it_is_there() -> None:
    assert discovery_topic("homeassistant", "node") == "homeassistant/device/node/config"
    assert TREE["device"]["identifiers"] == ["stser_node_mic"]
    assert TREE["origin"]["name"] == "stser-monitor"
    assert TREE["availability_topic"] == "stser/node/availability"


@pytest.mark.parametrize("name", TREE["components"])
def test_every_entity_has_documented_fields_only_and_an_identity(name: str) -> None:
    component = TREE["components"][name]
    assert set(component) <= DOCUMENTED[component["platform"]]
    assert component["unique_id"] == f"stser_node_mic_{name}"
    assert component["state_topic"].startswith("stser/node/mic/")


def test_emotions_shown_are_among_the_options_that_were_announced() -> None:
    options = TREE["components"]["emotion"]["options"]
    assert options == ["angry", "happy", "neutral", "sad", "uncertain"]
    assert shown("emotion", UTTERANCE) == "angry"
    assert shown("state", STATE) == "angry"
    assert float(shown("confidence", UTTERANCE)) == 70


def test_speech_turns_on_and_off_and_nothing_else_touches_it() -> None:
    assert shown("speech", SpeechBegan(1, 0)) == "ON"
    assert shown("speech", SpeechEnded(1, 0, 1)) == "OFF"
    for happening in EVERY:
        if not isinstance(happening, SpeechBegan | SpeechEnded):
            assert shown("speech", happening) == ""


def test_mute_shows_what_is_and_sends_what_is_understood() -> None:
    switch = TREE["components"]["mute"]
    assert switch["state_topic"] == "stser/node/mic/muted"
    assert (switch["state_on"], switch["state_off"]) == ("ON", "OFF")
    assert [json.loads(switch[key])["type"] for key in ("payload_on", "payload_off")] == [
        "mute",
        "unmute",
    ]


def test_attributes_are_the_posterior() -> None:
    (event,) = encoded(UTTERANCE)
    assert "posterior" in TREE["components"]["emotion"]["json_attributes_template"]
    assert set(data_of(event)["posterior"]) == {"angry", "happy", "neutral", "sad"}


def test_entities_of_several_streams_are_told_apart_and_each_mutes_its_own() -> None:
    tree: Any = json.loads(discovery("node", ["mic", "door"], "stser", "1.0.0"))
    assert len(tree["components"]) == 2 * len(TREE["components"])
    assert len({c["unique_id"] for c in tree["components"].values()}) == len(tree["components"])
    assert len({c["name"] for c in tree["components"].values()}) == len(tree["components"])
    door = tree["components"]["door_mute"]
    assert door["name"] == "door mute"
    assert door["state_topic"] == "stser/node/door/muted"
    assert parse(door["payload_on"]) == Mute("door")
    assert parse(door["payload_off"]) == Unmute("door")
