"""The AsyncAPI document, held to the code, the schemas and the events themselves."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from monitor.commands import LONGEST_MARK, CommandError, Mark, Mute, Reset, Unmute, parse
from monitor.events import WireEvent
from monitor.publish.asyncapi import COMMANDS, WITHOUT_SEQUENCE, as_json, as_markdown, build
from monitor.publish.audio_endpoint import Asked
from monitor.publish.outbox import Lost
from monitor.publish.pages import ASYNCAPI, load_pages
from monitor.publish.subscription import Subscription
from monitor.publish.wire import KINDS, ON_REQUEST, gap
from tests.support.happenings import EVERY, LEVEL, NOON, encoded

DOCS = Path(__file__).parents[3] / "docs"
DOCUMENT = json.loads(ASYNCAPI.read_text("utf-8"))


def rule_of(message: str) -> dict[str, Any]:
    """The schema of a message, as a reader of the document finds it."""
    return {
        "$ref": f"#/components/messages/{message}/payload",
        "components": DOCUMENT["components"],
    }


def pointed_at(reference: str) -> Any:
    """What a reference of the document points at."""
    tree = DOCUMENT
    for key in reference.removeprefix("#/").split("/"):
        tree = tree[key]
    return tree


def references(tree: Any) -> list[str]:
    if isinstance(tree, list):
        return [reference for item in tree for reference in references(item)]
    if not isinstance(tree, dict):
        return []
    own = [tree["$ref"]] if isinstance(tree.get("$ref"), str) else []
    return own + [reference for value in tree.values() for reference in references(value)]


def test_document_and_its_page_are_what_the_code_knows() -> None:
    write_anew = "write it anew: python -m monitor.publish.asyncapi json (or markdown)"
    assert ASYNCAPI.read_text("utf-8") == as_json(build()), write_anew
    assert (DOCS / "asyncapi.md").read_text("utf-8") == as_markdown(build()), write_anew


def test_document_is_served() -> None:
    page = load_pages()["/asyncapi.json"]
    assert page.body == ASYNCAPI.read_bytes()
    assert page.content_type.startswith("application/vnd.aai.asyncapi+json")


def test_every_reference_of_the_document_points_at_something() -> None:
    found = references(DOCUMENT)
    assert len(found) > 50
    for reference in found:
        assert pointed_at(reference), reference


def test_every_kind_of_event_is_a_message_of_the_websocket() -> None:
    assert {*KINDS, *ON_REQUEST} <= DOCUMENT["channels"]["events"]["messages"].keys()


def test_every_kind_but_what_is_said_in_passing_is_a_message_of_mqtt() -> None:
    said = DOCUMENT["channels"]["mqttEvents"]["messages"].keys()
    assert set(KINDS) - said == {"emotion.provisional"}


@pytest.mark.parametrize("event", encoded(*EVERY, LEVEL), ids=lambda event: event.kind)
def test_every_event_is_the_message_of_its_kind_and_no_other(event: WireEvent) -> None:
    told = json.loads(event.body)
    jsonschema.validate(told, rule_of(event.kind))
    other = next(kind for kind in KINDS if kind != event.kind)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(told, rule_of(other))
    if event.sequence == 0:
        assert event.kind in WITHOUT_SEQUENCE
        return
    with pytest.raises(jsonschema.ValidationError, match="sequence"):
        jsonschema.validate({k: v for k, v in told.items() if k != "sequence"}, rule_of(event.kind))


def test_gap_is_the_message_of_its_kind_without_a_sequence() -> None:
    told = json.loads(gap(Lost("/stser/node/mic", 3, 7, 5), "slow_client", NOON))
    jsonschema.validate(told, rule_of("stream.gap"))


def test_query_of_the_document_is_the_one_that_is_understood() -> None:
    query = DOCUMENT["channels"]["events"]["bindings"]["ws"]["query"]
    assert query["properties"].keys() == {"types", "stream", "since", "transcript"}
    Subscription.from_query("types=emotion.state&stream=mic&since=1,door:2&transcript=0")
    with pytest.raises(ValueError, match=r"known are types, stream, transcript and since\."):
        Subscription.from_query("another=1")


def test_address_of_audio_in_the_document_is_the_one_that_is_understood() -> None:
    query = DOCUMENT["channels"]["audio"]["bindings"]["ws"]["query"]
    assert query["properties"].keys() == {"stream", "sample_rate"}
    assert Asked.from_query("stream=door&sample_rate=8000") == Asked("door", 8_000)
    with pytest.raises(ValueError, match="known here are stream=NAME and sample_rate=HZ"):
        Asked.from_query("another=1")


@pytest.mark.parametrize("channel", ["events", "mqttCommands"])
def test_commands_of_the_document_are_those_that_are_understood(channel: str) -> None:
    messages = DOCUMENT["channels"][channel]["messages"]
    assert {f"command.{name}" for name in COMMANDS} <= messages.keys()
    for name, command in {
        "mute": Mute(),
        "unmute": Unmute(),
        "mark": Mark("here"),
        "reset": Reset(),
    }.items():
        told = {"type": name, "text": "here"} if name == "mark" else {"type": name}
        jsonschema.validate(told, rule_of(f"command.{name}"))
        assert parse(json.dumps(told)) == command
        of_one = told | {"stream": "door"}
        jsonschema.validate(of_one, rule_of(f"command.{name}"))
        assert parse(json.dumps(of_one)) == replace(command, stream="door")
    longest = DOCUMENT["components"]["messages"]["command.mark"]["payload"]["properties"]["text"]
    assert longest["maxLength"] == LONGEST_MARK
    with pytest.raises(CommandError, match=" and ".join((", ".join([*COMMANDS][:3]), "reset"))):
        parse('{"type":"another"}')


def test_official_tool_finds_no_fault_in_the_document(tmp_path: Path) -> None:
    tool = os.environ.get("STSER_ASYNCAPI")
    if not tool:
        pytest.skip("STSER_ASYNCAPI names no asyncapi (npm install @asyncapi/cli)")
    environment = {**os.environ, "HOME": str(tmp_path), "CI": "true"}
    command = [tool, "validate", str(ASYNCAPI), "--fail-severity", "warn"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
