"""EmotionML 1.0, held to the W3C's schema, and to the rules of the recommendation that a schema cannot say."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import xmlschema

from monitor.events import Happening, Transcript, Word
from monitor.publish.emotionml import NAMESPACE, OWN_NAMESPACE, EmotionMl, document
from tests.support.happenings import EVERY, UTTERANCE, encoded
from tests.support.standards import standard

E = f"{{{NAMESPACE}}}"
DOUBTFUL = replace(UTTERANCE, transcript=None, abstained=("no_transcript", "low_snr"))
UGLY = replace(UTTERANCE, transcript=Transcript((Word("<a&b>\x00\ufffe\n]]>", 8.31, 8.6, 0.9),)))
NOBODY = replace(UTTERANCE, verdict=replace(UTTERANCE.verdict, modalities=()))


def written(*happenings: Happening, transcript: bool = True) -> list[bytes]:
    """The lines that a reader of the stream gets."""

    async def main() -> None:
        async with EmotionMl(stream) as output:
            for event in encoded(*happenings, transcript=transcript):
                output.publish(event)

    stream = io.BytesIO()
    asyncio.run(main())
    return stream.getvalue().splitlines()


@pytest.mark.parametrize("utterance", [UTTERANCE, DOUBTFUL, UGLY, NOBODY])
def test_every_line_is_a_document_that_the_schema_of_the_w3c_accepts(utterance: Happening) -> None:
    schema = xmlschema.XMLSchema(str(standard("emotionml/emotionml.xsd")))
    (line,) = written(utterance)
    schema.validate(line.decode())


def test_every_line_can_be_parsed_alone_and_only_utterances_have_one() -> None:
    lines = written(*EVERY)
    assert [ET.fromstring(line).tag for line in lines] == [f"{E}emotionml"] * 2


def test_categories_are_those_of_the_vocabulary_that_the_document_names() -> None:
    root = ET.fromstring(written(UTTERANCE)[0])
    vocabulary = root.find(f"{E}vocabulary")
    assert vocabulary is not None
    assert root.get("category-set") == f"#{vocabulary.get('id')}"
    assert vocabulary.get("type") == "category"
    items = [item.get("name") for item in vocabulary]
    categories = [category.get("name") for category in root.iter(f"{E}category")]
    assert categories == items == ["angry", "happy", "neutral", "sad"]


def test_no_vocabulary_of_the_w3c_holds_the_four_classes() -> None:
    published = ET.parse(standard("emotionml/emotion-voc.emotionml")).getroot()
    for vocabulary in published.iter(f"{E}vocabulary"):
        assert "neutral" not in {item.get("name") for item in vocabulary}, vocabulary.get("id")


def test_document_says_when_how_surely_and_through_what_it_was_expressed() -> None:
    emotion = ET.fromstring(written(UTTERANCE)[0]).find(f"{E}emotion")
    assert emotion is not None
    assert emotion.attrib == {
        "id": "utterance-17",
        "time-ref-uri": "/stser/node/mic",
        "offset-to-start": "8120",
        "duration": "2360",
        "expressed-through": "voice text",
    }
    confidences = [
        float(category.get("confidence", "")) for category in emotion.iter(f"{E}category")
    ]
    assert confidences == [0.7, 0.1, 0.15, 0.05]
    assert "".join(emotion.itertext()) == "leave me"


def test_document_says_that_the_monitor_abstained_and_which_event_it_was() -> None:
    (event,) = encoded(DOUBTFUL)
    line = document(event)
    assert line is not None
    verdict = ET.fromstring(line).find(f".//{{{OWN_NAMESPACE}}}verdict")
    assert verdict is not None
    told = json.loads(event.body)
    assert verdict.attrib == {
        "label": "uncertain",
        "abstained": "no_transcript low_snr",
        "event": told["id"],
        "sequence": told["sequence"],
        "time": told["time"],
    }


def test_words_are_escaped_and_stay_on_one_line() -> None:
    (line,) = written(UGLY)
    assert "".join(ET.fromstring(line).itertext()) == "<a&b>\ufffd\ufffd ]]>"


def test_words_that_are_withheld_are_in_no_document() -> None:
    (line,) = written(UTTERANCE, transcript=False)
    assert b"leave" not in line
    assert "".join(ET.fromstring(line).itertext()) == ""


def test_file_that_was_written_in_two_runs_is_read_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "events.emotionml"

    async def run() -> None:
        async with EmotionMl(path) as output:
            for event in encoded(UTTERANCE, UTTERANCE):
                output.publish(event)

    asyncio.run(run())
    asyncio.run(run())
    assert len([ET.fromstring(line) for line in path.read_bytes().splitlines()]) == 4
