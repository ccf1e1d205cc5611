"""From audio to words with real parts: the segmenter, the transcriber on its thread, and Vosk."""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
import pytest
import soundfile

from monitor.asr import AsrSettings, VoskTranscriber, find_model
from monitor.events import (
    FRAME_SAMPLES,
    SAMPLE_RATE_HZ,
    AudioFrame,
    Samples,
    Segment,
    SegmenterOutput,
    SpeechAudio,
    SpeechStarted,
    Transcript,
)
from monitor.segmenter import Segmenter, SegmenterSettings
from tests.support.speech import silence, spoken
from training.demo_recording import CONVERSATION

DEMO = Path(__file__).parents[2] / "monitor" / "demo" / "conversation.flac"


def segmented(samples: Samples, settings: SegmenterSettings | None = None) -> list[SegmenterOutput]:
    """What the segmenter makes of audio that comes in frames."""
    segmenter = Segmenter(settings=settings)
    frames = [
        AudioFrame(start, samples[start : start + FRAME_SAMPLES])
        for start in range(0, len(samples) - FRAME_SAMPLES + 1, FRAME_SAMPLES)
    ]
    return [output for frame in frames for output in segmenter.push(frame)] + segmenter.flush()


def heard(outputs: list[SegmenterOutput], *, chunk: int | None = None) -> list[Transcript | None]:
    """Transcripts of a stream, its audio fed as the segmenter hands it on, or in other chunks."""

    async def main() -> list[Transcript | None]:
        answers = []
        async with VoskTranscriber(find_model("stser-tiny-en"), AsrSettings()) as transcriber:
            for output in outputs:
                match output:
                    case SpeechStarted(utterance=utterance, start=start):
                        transcriber.begin(utterance, start)
                    case SpeechAudio(samples=samples):
                        size = chunk if chunk is not None else len(samples)
                        for at in range(0, len(samples), size):
                            transcriber.feed(samples[at : at + size])
                        await transcriber.wait_ready()
                    case Segment(end=end):
                        answers.append(transcriber.finish(end))
            return [await answer for answer in answers]

    return asyncio.run(main())


def test_every_sentence_of_the_bundled_recording_is_recognised_in_a_segment_of_its_own() -> None:
    samples, rate_hz = soundfile.read(DEMO, dtype="float32")
    assert rate_hz == SAMPLE_RATE_HZ
    texts = [transcript and transcript.text for transcript in heard(segmented(samples))]
    assert texts == [words for _, _, words in CONVERSATION]


def test_words_start_and_end_where_they_were_spoken_in_the_stream() -> None:
    parts = [silence(3), spoken("leave me alone"), silence(2), spoken("i am so happy today")]
    samples = np.concatenate([*parts, silence(1)])
    loud_s = np.flatnonzero(np.abs(samples) > 0.02) / SAMPLE_RATE_HZ
    pause_s = loud_s[np.argmax(np.diff(loud_s))] + 1.0
    first, second = heard(segmented(samples))
    assert first is not None
    assert second is not None
    assert first.words[0].start_s == pytest.approx(loud_s[0], abs=0.1)
    assert first.words[-1].end_s == pytest.approx(loud_s[loud_s < pause_s][-1], abs=0.1)
    assert second.words[0].start_s == pytest.approx(loud_s[loud_s > pause_s][0], abs=0.1)
    assert second.words[-1].end_s == pytest.approx(loud_s[-1], abs=0.1)


def test_long_pause_inside_a_segment_costs_no_words() -> None:
    parts = [spoken("leave me alone"), silence(1.2), spoken("i am so happy today"), silence(2.5)]
    outputs = segmented(np.concatenate(parts), SegmenterSettings(silence_ms=3000))
    [transcript] = heard(outputs)
    assert transcript is not None
    assert transcript.text == "leave me alone i am so happy today"


@pytest.mark.parametrize("chunk", [1, 160, 441, 5000])
def test_words_times_and_confidences_do_not_depend_on_the_chunks_that_are_fed(chunk: int) -> None:
    parts = [spoken("leave me alone"), silence(1), spoken("what are you doing today", voice="rms")]
    samples = np.concatenate([*parts, silence(1)]) if chunk > 1 else parts[0]
    outputs = segmented(samples)
    assert heard(outputs, chunk=chunk) == heard(outputs)


def test_sentence_that_is_cut_at_the_maximum_length_is_heard_to_its_end() -> None:
    sentence = "i am so happy today"
    samples = np.concatenate([spoken(sentence, after_s=0) for _ in range(4)])
    settings = SegmenterSettings(max_segment_ms=2000)
    outputs = segmented(np.concatenate([samples, silence(1)]), settings)
    transcripts = heard(outputs)
    assert len(transcripts) > 2
    words = [word for transcript in transcripts if transcript for word in transcript.words]
    assert 15 <= len(words) <= 22
    assert all(word.end_s <= len(samples) / SAMPLE_RATE_HZ + 0.1 for word in words)
