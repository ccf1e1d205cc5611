"""The bytes on the wire, held to the contract and to the schemas that are served."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.events import DeviceOverflow, Happening, ProvisionalEmotion, SpeechBegan
from monitor.publish.outbox import Lost
from monitor.publish.pages import SCHEMAS
from monitor.publish.wire import (
    KINDS,
    ON_REQUEST,
    WireEncoder,
    body_without_transcript,
    gap,
    rounded_posterior,
    to_json,
)
from tests.support.happenings import EVERY, LEVEL, NOON, SEGMENT, UTTERANCE, data_of, encoded


def schema(kind: str) -> Any:
    return json.loads((SCHEMAS / f"{kind}.v1.json").read_text())


def test_every_kind_of_event_has_a_schema_and_every_schema_a_kind() -> None:
    assert {path.name.removesuffix(".v1.json") for path in SCHEMAS.iterdir()} == {
        *KINDS,
        *ON_REQUEST,
    }
    for kind in (*KINDS, *ON_REQUEST):
        jsonschema.Draft202012Validator.check_schema(schema(kind))


def test_page_asks_for_every_kind_that_there_is() -> None:
    source = (Path(__file__).parents[3] / "dashboard/src/events.ts").read_text("utf-8")
    (asked,) = re.findall(r"export const KINDS = \[(.*?)\]", source, re.DOTALL)
    assert set(re.findall(r'"(.*?)"', asked)) == {*KINDS, *ON_REQUEST}


@pytest.mark.parametrize(
    "happening", [*EVERY, LEVEL], ids=lambda happening: type(happening).__name__
)
def test_data_of_every_event_is_as_its_schema_says(happening: Happening) -> None:
    (event,) = encoded(happening)
    tree = json.loads(event.body)
    assert tree["dataschema"] == f"/schemas/{event.kind}.v1.json"
    jsonschema.validate(tree["data"], schema(event.kind))
    # Nothing is sent that the schema does not know.
    assert set(tree["data"]) == set(schema(event.kind)["properties"])


def test_envelope_is_a_cloudevent_with_a_contiguous_sequence() -> None:
    first, second = (json.loads(event.body) for event in encoded(*EVERY[:2]))
    assert first | {"id": "", "data": {}} == {
        "specversion": "1.0",
        "id": "",
        "source": "/stser/node/mic",
        "type": "org.stser.monitor.started.v1",
        "time": "2026-01-02T12:00:00.005Z",
        "sequence": "00000000000000000001",
        "datacontenttype": "application/json",
        "dataschema": "/schemas/monitor.started.v1.json",
        "data": {},
    }
    assert second["sequence"] == "00000000000000000002"
    assert first["id"] != second["id"]


def test_provisional_emotion_is_an_utterance_that_is_not_final_and_has_no_place_in_the_sequence() -> (
    None
):
    so_far = ProvisionalEmotion(UTTERANCE)
    before, one, other, after = encoded(UTTERANCE, so_far, so_far, UTTERANCE)
    assert data_of(one) == data_of(before) | {"final": False}
    assert (before.sequence, one.sequence, other.sequence, after.sequence) == (1, 0, 0, 2)
    assert "sequence" not in json.loads(one.body)
    assert len({json.loads(event.body)["id"] for event in (before, one, other, after)}) == 4


def test_utterance_carries_stream_times_words_and_what_each_classifier_said() -> None:
    (event,) = encoded(UTTERANCE)
    data = data_of(event)
    assert (data["start_ms"], data["end_ms"]) == (8120, 10480)
    assert (data["label"], data["confidence"]) == ("angry", 0.7)
    assert list(data["posterior"]) == ["angry", "happy", "neutral", "sad"]
    assert data["classifiers"]["bimodal"] is None
    assert data["transcript"]["words"][0] == {
        "word": "leave",
        "start": 8.31,
        "end": 8.6,
        "conf": 0.93,
    }
    assert data["audio"] == {
        "level_dbfs": -23.1,
        "noise_floor_dbfs": -58.2,
        "snr_db": 35.0,
        "clipped": False,
    }
    assert data["latency_ms"]["total"] == 416.3


def test_digital_silence_has_a_finite_level() -> None:
    silent = replace(SEGMENT, level_dbfs=-math.inf, noise_floor_dbfs=-math.inf)
    (event,) = encoded(replace(UTTERANCE, segment=silent))
    assert data_of(event)["audio"] == {
        "level_dbfs": -120.0,
        "noise_floor_dbfs": -120.0,
        "snr_db": 0.0,
        "clipped": False,
    }


@given(st.lists(st.floats(0, 1), min_size=4, max_size=4).filter(lambda values: sum(values) > 0.1))
def test_rounded_posterior_sums_to_one_and_keeps_the_order(values: list[float]) -> None:
    shares = [value / sum(values) for value in values]
    names = ("angry", "happy", "neutral", "sad")
    rounded = rounded_posterior(dict(zip(names, shares, strict=True)))
    assert math.fsum(rounded.values()) == pytest.approx(1, abs=1e-12)
    assert all(abs(rounded[n] - p) < 2e-4 for n, p in zip(names, shares, strict=True))
    assert rounded[max(names, key=rounded.__getitem__)] == max(rounded.values())


def test_words_are_left_out_for_all_or_for_one_subscriber_with_the_same_result() -> None:
    (bare,) = encoded(UTTERANCE, transcript=False)
    (whole,) = encoded(UTTERANCE)
    assert data_of(bare)["transcript"] is None
    assert data_of(bare)["salience"]["words"] == []
    assert b"leave" not in bare.body
    assert json.loads(body_without_transcript(whole.body))["data"] == data_of(bare)


def test_gap_names_the_events_that_were_missed_and_has_no_sequence() -> None:
    tree = json.loads(gap(Lost("/stser/node/mic", 3, 7, 5), "slow_client", NOON))
    jsonschema.validate(tree["data"], schema("stream.gap"))
    assert tree["data"] == {
        "from_sequence": "00000000000000000003",
        "to_sequence": "00000000000000000007",
        "dropped": 5,
        "reason": "slow_client",
    }
    assert "sequence" not in tree


def test_name_of_a_file_that_is_not_utf_8_still_gives_valid_json() -> None:
    (event,) = encoded(DeviceOverflow("bad\udcff.wav", 1, 0))
    assert data_of(event)["device"] == "bad?.wav"


def test_number_that_is_not_finite_never_reaches_the_wire() -> None:
    with pytest.raises(ValueError, match="Out of range"):
        to_json({"level": math.nan})


@pytest.mark.parametrize("name", ["", "a/b", "living room", "über"])
def test_name_that_would_break_a_topic_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="letters, digits"):
        WireEncoder(name, "mic")
    with pytest.raises(ValueError, match="letters, digits"):
        WireEncoder("node", name)


def test_two_runs_never_share_an_identifier() -> None:
    ids = {
        json.loads(
            WireEncoder("node", "mic", clock=lambda: datetime.now(UTC))
            .encode(SpeechBegan(1, 0))
            .body
        )["id"]
        for _ in range(20)
    }
    assert len(ids) == 20
