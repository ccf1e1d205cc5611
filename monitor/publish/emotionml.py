"""Utterances as EmotionML 1.0 (https://www.w3.org/TR/emotionml/), one document a line.

A document a line, since a document that grows is well-formed only after the last event: a reader of a pipe would have
to wait for it, a program that is killed would leave none, and a file that is appended to would hold two roots. So any
XML parser reads a line at a time, and each line holds what it needs, its vocabulary included.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET  # nosec B405
from typing import Any, Final

from monitor.events import UtteranceEmotion, WireEvent
from monitor.publish.jsonl import JsonLines
from monitor.publish.outbox import Lost
from stser_core.labels import Emotion

NAMESPACE: Final = "http://www.w3.org/2009/10/emotionml"
OWN_NAMESPACE: Final = "urn:stser:emotionml:1"
"""Of what EmotionML has no place for, in ``<info>``."""

VOCABULARY: Final = "stser-categories"
"""Defined in each document: no vocabulary of the W3C holds ``neutral``."""

_EXPRESSED_THROUGH: Final = {"speech": "voice", "text": "text"}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


class EmotionMl(JsonLines):
    """One document an utterance, on a line of its own; other events are passed over."""

    def line(self, event: WireEvent) -> bytes | None:
        """The document of an utterance."""
        return document(event)

    def gap(self, lost: Lost) -> bytes | None:
        """None: EmotionML has no place for it."""
        return None


def document(event: WireEvent) -> bytes | None:
    """An EmotionML document on one line, without a line feed; None where the event is no utterance.

    The four categories carry the posterior as their ``confidence``. ``offset-to-start`` and ``duration`` count from the
    start of the stream, ``time-ref-uri``. The text of ``<emotion>`` is the transcript, where the event has one.
    """
    if not isinstance(event.happening, UtteranceEmotion):
        return None
    told = json.loads(event.body)
    root = ET.Element(
        "emotionml", {"xmlns": NAMESPACE, "version": "1.0", "category-set": f"#{VOCABULARY}"}
    )
    vocabulary = ET.SubElement(root, "vocabulary", {"type": "category", "id": VOCABULARY})
    for label in Emotion:
        ET.SubElement(vocabulary, "item", {"name": label.value})
    root.append(_emotion(told, told["data"]))
    line: bytes = ET.tostring(root, encoding="utf-8", xml_declaration=False)
    return line


def _emotion(told: dict[str, Any], data: dict[str, Any]) -> ET.Element:
    emotion = ET.Element(
        "emotion",
        {
            "id": f"utterance-{data['utterance']}",
            "time-ref-uri": told["source"],
            "offset-to-start": str(data["start_ms"]),
            "duration": str(data["end_ms"] - data["start_ms"]),
        },
    )
    # A verdict without any classifier came through no channel, and an empty list is not allowed.
    if through := " ".join(_EXPRESSED_THROUGH[name] for name in data["modalities"]):
        emotion.set("expressed-through", through)
    info = ET.SubElement(emotion, "info")
    ET.SubElement(
        info,
        "verdict",
        {
            "xmlns": OWN_NAMESPACE,
            "label": data["label"],
            "abstained": " ".join(data["abstained"]),
            "event": told["id"],
            "sequence": told["sequence"],
            "time": told["time"],
        },
    )
    last = info
    for name, probability in data["posterior"].items():
        last = ET.SubElement(emotion, "category", {"name": name, "confidence": f"{probability:g}"})
    if data["transcript"] is not None:
        last.tail = _text(data["transcript"]["text"])
    return emotion


def _text(text: str) -> str:
    """Text on one line, of the characters that XML allows."""
    return _NOT_XML.sub("\ufffd", " ".join(text.split()))
