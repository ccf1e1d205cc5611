"""Events, read by the official SDK of CloudEvents and held to its published schema."""

from __future__ import annotations

import json

import jsonschema
import pytest
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from monitor.publish.outbox import Lost
from monitor.publish.wire import KINDS, ON_REQUEST, PREFIX, gap
from tests.support.happenings import EVERY, LEVEL, NOON, encoded
from tests.support.standards import standard

BODIES = {
    **{event.type: event.body for event in encoded(*EVERY, LEVEL)},
    f"{PREFIX}stream.gap.v1": gap(Lost("/stser/node/mic", 3, 7, 5), "slow_client", NOON),
}


def test_every_kind_is_among_the_events_that_are_read_here() -> None:
    assert BODIES.keys() == {f"{PREFIX}{kind}.v1" for kind in (*KINDS, *ON_REQUEST)}


@pytest.mark.parametrize("name", BODIES)
def test_official_sdk_reads_every_kind_of_event(name: str) -> None:
    event = JSONFormat().read(CloudEvent, BODIES[name])
    told = json.loads(BODIES[name])
    assert event.get_type() == name
    assert event.get_source() == "/stser/node/mic"
    assert event.get_id() == told["id"]
    assert event.get_datacontenttype() == "application/json"
    assert event.get_dataschema() == told["dataschema"]
    assert event.get_extension("sequence") == told.get("sequence")
    assert event.get_data() == told["data"]
    assert event.get_time() == NOON


@pytest.mark.parametrize("name", BODIES)
def test_published_schema_accepts_every_kind_of_event(name: str) -> None:
    schema = json.loads(standard("cloudevents/cloudevents.json").read_text("utf-8"))
    jsonschema.validate(
        json.loads(BODIES[name]),
        schema,
        format_checker=jsonschema.FormatChecker(),
    )


def test_published_schema_would_refuse_an_event_without_a_source() -> None:
    schema = json.loads(standard("cloudevents/cloudevents.json").read_text("utf-8"))
    told = json.loads(BODIES[f"{PREFIX}speech.started.v1"])
    del told["source"]
    with pytest.raises(jsonschema.ValidationError, match="source"):
        jsonschema.validate(told, schema)
