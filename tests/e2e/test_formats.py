"""What the program writes, read by programs of others."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np
import pytest
import xmlschema

from monitor.publish.emotionml import NAMESPACE
from tests.support.monitor_process import run_monitor
from tests.support.speech import SAMPLE_RATE_HZ, spoken, write_wav
from tests.support.standards import standard


def test_program_writes_emotionml_to_standard_output(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    sentences = ["leave me alone", "i am so happy today"]
    samples = np.concatenate([spoken(text, before_s=0.6, after_s=0.6) for text in sentences])
    talk = write_wav(tmp_path_factory.mktemp("talk") / "talk.wav", samples)
    finished = run_monitor("--input", talk, "--no-ws", "--format", "emotionml")
    assert finished.code == 0, finished.log
    emotions = [
        ET.fromstring(line).find(f"{{{NAMESPACE}}}emotion") for line in finished.output.splitlines()
    ]
    assert ["".join(emotion.itertext()) for emotion in emotions if emotion is not None] == sentences
    starts = [
        int(emotion.get("offset-to-start", "")) for emotion in emotions if emotion is not None
    ]
    assert 0 < starts[0] < starts[1] < 1000 * len(samples) // SAMPLE_RATE_HZ


def test_emotionml_of_several_streams_says_of_each_utterance_whose_it_is(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    folder = tmp_path_factory.mktemp("talk")
    said = {"desk": "leave me alone", "door": "i am so happy today"}
    flags = ["--no-ws", "--format", "emotionml", "--node", "robot"]
    for name, text in said.items():
        flags += ["--stream", name, "--input", str(write_wav(folder / f"{name}.wav", spoken(text)))]
    finished = run_monitor(*flags)
    assert finished.code == 0, finished.log
    schema = xmlschema.XMLSchema(str(standard("emotionml/emotionml.xsd")))
    heard = {}
    for line in finished.output.splitlines():
        schema.validate(line.decode())
        emotion = ET.fromstring(line).find(f"{{{NAMESPACE}}}emotion")
        assert emotion is not None
        heard[emotion.get("time-ref-uri")] = "".join(emotion.itertext())
    assert heard == {f"/stser/robot/{name}": text for name, text in said.items()}
