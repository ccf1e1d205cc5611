"""Reasons for which a label is uncertain, one rule a test."""

from __future__ import annotations

from dataclasses import replace

import pytest

from monitor.abstention import AbstentionSettings, readable, reasons
from monitor.events import CloseReason, Segment, Transcript, Word
from stser_core.ensemble import Verdict
from stser_core.explain import Salience
from stser_core.posterior import EmotionPosterior

SETTINGS = AbstentionSettings(
    min_speech_ms=240,
    min_snr_db=3.0,
    min_transcript_confidence=0.35,
    min_agreement=0.4,
    min_confidence=0.35,
)
SEGMENT = Segment(
    utterance=1,
    start=0,
    end=16_000,
    speech_end=16_000,
    closed_at=22_400,
    reason=CloseReason.SILENCE,
    level_dbfs=-25.0,
    noise_floor_dbfs=-60.0,
    clipped=False,
    speech_samples=12_000,
)
SURE = EmotionPosterior((0.7, 0.1, 0.1, 0.1))
VERDICT = Verdict(
    posterior=SURE,
    classifiers={"speech": SURE, "text": None, "bimodal": None},
    modalities=("speech",),
    agreement=1.0,
    salience=Salience(hop_ms=100, speech=(), words=()),
)


def transcript(conf: float) -> Transcript:
    return Transcript((Word("hello", 0.1, 0.4, conf),))


def test_a_clear_utterance_has_no_reason() -> None:
    assert reasons(SEGMENT, None, VERDICT, SETTINGS) == ()


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (replace(SEGMENT, speech_samples=3_839), "too_short"),
        (replace(SEGMENT, noise_floor_dbfs=-27.9), "low_snr"),
        (replace(SEGMENT, clipped=True), "clipped"),
        (replace(SEGMENT, reason=CloseReason.GAP), "audio_gap"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_audio_that_cannot_be_trusted_is_a_reason(segment: Segment, reason: str) -> None:
    assert reasons(segment, None, VERDICT, SETTINGS) == (reason,)


def test_speech_of_exactly_the_least_length_is_judged() -> None:
    assert reasons(replace(SEGMENT, speech_samples=3_840), None, VERDICT, SETTINGS) == ()


def test_classifiers_that_disagree_and_a_flat_posterior_are_reasons() -> None:
    flat = EmotionPosterior((0.3, 0.3, 0.2, 0.2))
    verdict = replace(VERDICT, posterior=flat, agreement=0.39)
    assert reasons(SEGMENT, None, verdict, SETTINGS) == ("classifiers_disagree", "low_confidence")


def test_a_sound_unlike_the_training_speech_is_a_reason_unless_that_is_switched_off() -> None:
    verdict = replace(VERDICT, novel=True)
    assert reasons(SEGMENT, None, verdict, SETTINGS) == ("not_like_training",)
    assert reasons(SEGMENT, None, verdict, replace(SETTINGS, not_like_training=False)) == ()


def test_missing_words_are_no_reason_while_the_voice_can_speak() -> None:
    assert reasons(SEGMENT, Transcript(()), VERDICT, SETTINGS) == ()


@pytest.mark.parametrize(
    ("heard", "reason"),
    [
        (None, "no_transcript"),
        (Transcript(()), "no_transcript"),
        (transcript(0.1), "low_transcript_confidence"),
    ],
)
def test_missing_words_are_the_reason_where_only_words_were_asked_for(
    heard: Transcript | None, reason: str
) -> None:
    silent = replace(VERDICT, modalities=())
    assert reasons(SEGMENT, heard, silent, SETTINGS) == (reason,)


def test_a_transcript_is_read_from_its_least_confidence_on() -> None:
    assert readable(transcript(0.35), SETTINGS)
    assert not readable(transcript(0.34), SETTINGS)
    assert not readable(Transcript(()), SETTINGS)
    assert not readable(None, SETTINGS)


def test_a_bound_that_is_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"abstention\.min_confidence \(35\) must be from 0 to 1"):
        AbstentionSettings(min_confidence=35)
