"""Batches: what training sees, and what it must not see."""

from __future__ import annotations

import os
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile

from stser_core.adaptation import AdaptationSettings, Average
from stser_core.features import LogMelSettings
from stser_core.labels import EMOTIONS, Emotion
from training.augment import stretched, tract, with_noise
from training.channels import conditions
from training.corpora import read_manifest
from training.errors import CorpusError
from training.front_end import LogMels, extract, load_audio, trim
from training.open_corpora import noise_files, noise_recordings
from training.settings import SpeechTrainingSettings
from training.speech_data import PLAIN, SpeechBatches, SpeechData
from training.surroundings import Surroundings
from training.utterance import Utterance


@pytest.fixture(scope="module")
def data(root: Path, tmp_path_factory: pytest.TempPathFactory) -> SpeechData:
    utterances = read_manifest(root / "first")
    mels = extract(utterances, LogMelSettings(), tmp_path_factory.mktemp("cache"))
    return SpeechData(utterances, {PLAIN: mels}, AdaptationSettings())


def test_silence_around_speech_is_cut_to_what_a_live_segment_keeps() -> None:
    t = np.arange(16_000) / 16_000
    speech = (0.3 * np.sin(2 * np.pi * 200 * t)).astype(np.float32)
    padded = np.concatenate([np.zeros(16_000, np.float32), speech, np.zeros(16_000, np.float32)])
    assert abs(len(trim(padded, 16_000)) - 1.3 * 16_000) <= 320


def test_a_speed_changes_the_length(root: Path) -> None:
    path = read_manifest(root / "first")[0].audio
    assert path is not None
    assert len(load_audio(path, 16_000, 0.9)) == pytest.approx(8_000 / 0.9, abs=2)


def test_a_file_that_is_no_audio_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("not audio")
    with pytest.raises(CorpusError, match=r"text\.wav: cannot be decoded"):
        load_audio(tmp_path / "text.wav", 16_000)


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_a_sample_that_is_no_number_is_refused_by_file_and_place(
    tmp_path: Path, value: float
) -> None:
    samples = np.zeros((1_600, 2), np.float32)
    samples[400, 1] = value
    soundfile.write(tmp_path / "odd.wav", samples, 8_000, subtype="FLOAT")
    with pytest.raises(CorpusError, match=r"odd\.wav: sample 400 is no finite number.*16-bit PCM"):
        load_audio(tmp_path / "odd.wav", 16_000)


def test_the_cache_gives_what_was_computed(root: Path, tmp_path: Path) -> None:
    utterances = read_manifest(root / "second")
    first = extract(utterances, LogMelSettings(), tmp_path)
    again = extract(utterances, LogMelSettings(), tmp_path)
    assert len(list(tmp_path.iterdir())) == 1
    assert all((first[i] == again[i]).all() for i in range(len(first)))


def test_a_recording_that_was_exchanged_for_another_of_its_length_is_not_taken_from_the_cache(
    tmp_path: Path,
) -> None:
    path, rng = tmp_path / "a.wav", np.random.default_rng(0)
    said = [Utterance(corpus="c", label=Emotion.SAD, speaker="s", audio=path)]
    found = []
    for _ in range(2):
        samples = rng.uniform(-0.1, 0.1, 8_000)
        soundfile.write(path, samples, 16_000)
        os.utime(path, (0, 0))
        found.append(extract(said, LogMelSettings(), tmp_path / "cache")[0])
    assert not np.array_equal(*found)


def test_a_channel_with_other_recordings_is_not_taken_from_the_cache(
    root: Path, tmp_path: Path
) -> None:
    said, rng = read_manifest(root / "first")[:1], np.random.default_rng(0)
    of_name: dict[str, list[LogMels]] = defaultdict(list)
    for _ in range(2):
        recordings = [rng.uniform(-0.1, 0.1, 8_000).astype(np.float32)]
        for channel in conditions(recordings, recordings):
            mels = extract(said, LogMelSettings(), tmp_path, channel=channel)
            of_name[channel.name].append(mels)
    differ = {name for name, (a, b) in of_name.items() if not np.array_equal(a.frames, b.frames)}
    assert differ == {*(f"noise, {snr} dB SNR" for snr in (20, 10, 5)), "recorded rooms"}


def test_what_was_heard_before_is_the_speakers_own_and_never_the_utterance_itself(
    data: SpeechData,
) -> None:
    mine = [i for i, u in enumerate(data.utterances) if u.speaker == data.utterances[0].speaker]
    everything = data.heard(0, 1_000, np.random.default_rng(0))
    others = Average.of(np.zeros((0, 64)))
    for index in mine[1:]:
        others = others.merge(Average.of(data.plain_mels[index]))
    assert everything is not None
    assert everything.count == others.count
    np.testing.assert_allclose(everything.mean, others.mean)


def test_the_first_utterance_has_nothing_heard_before_it(data: SpeechData) -> None:
    assert data.heard(0, 0, np.random.default_rng(0)) is None


def test_evaluation_does_not_depend_on_which_other_utterances_are_evaluated(
    data: SpeechData,
) -> None:
    prior = data.prior(range(len(data.utterances)))

    def rows(indices: list[int]) -> dict[int, bytes]:
        found = {}
        for at, log_mel, lengths in data.plain(indices, prior, heard=2, seed=1):
            for position, row, length in zip(at, log_mel, lengths, strict=True):
                found[indices[position]] = row[: int(length)].numpy().tobytes()
        return found

    together, alone = rows([5, 3, 0, 7]), rows([3])
    assert alone[3] == together[3]


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_comes_at_the_asked_ratio(snr_db: float) -> None:
    quiet, noise = np.full((50, 4), -30.0, np.float32), np.zeros((20, 4), np.float32)
    speech = np.zeros((50, 4), np.float32)
    speech[:25] = quiet[:25]
    mixed = with_noise(speech, noise, snr_db, np.random.default_rng(0))
    # Where there was no speech, only the noise is left.
    np.testing.assert_allclose(mixed[:25], -snr_db * np.log(10) / 10, atol=1e-4)


def test_a_vocal_tract_of_the_same_length_changes_nothing_and_a_longer_one_moves_bins_down() -> (
    None
):
    frames = np.arange(64, dtype=np.float32)[None]
    np.testing.assert_allclose(frames @ tract(64, 1.0), frames)
    moved = frames @ tract(64, 1.1)
    np.testing.assert_allclose(moved[0, 20], 22.0, atol=1e-4)  # what lay at bin 22
    assert moved[0, 63] == 63.0


def test_stretched_speech_keeps_its_first_frame_and_its_order() -> None:
    frames = np.arange(100, dtype=np.float32)[:, None]
    slow = stretched(frames, 1.1)
    assert len(slow) == 110
    assert slow[0] == 0
    assert (np.diff(slow[:, 0]) >= 0).all()


def test_noise_that_training_hears_is_not_what_tests_hear(tmp_path: Path) -> None:
    folder = tmp_path / "esc10"
    folder.mkdir()
    for name, level in (("a", 0.25), ("b", 0.5)):
        soundfile.write(folder / f"{name}.wav", np.full(1_600, level), 16_000)
    (folder / "manifest.csv").write_text("path,split\na.wav,fold1\nb.wav,fold5\n")
    for test, level in ((False, 0.25), (True, 0.5)):
        (noise,) = noise_recordings(tmp_path, LogMelSettings(), test=test)
        np.testing.assert_allclose(noise, level, atol=1e-4)
    assert noise_recordings(tmp_path / "nowhere", LogMelSettings(), test=True) == []


def test_a_run_depends_on_noise_that_lies_behind_a_link_and_on_nothing_that_no_row_names(
    root: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "esc10"
    folder.mkdir()
    (folder / "audio").symlink_to(root / "esc10")
    (folder / "manifest.csv").write_text("path,split\naudio/a.wav,fold1\n", "utf-8")
    (folder / "notes.txt").write_text("of nobody's interest", "utf-8")
    assert noise_files(tmp_path) == [folder / "audio" / "a.wav", folder / "manifest.csv"]
    assert noise_files(tmp_path / "nowhere") == []


def test_stereo_becomes_the_mean_of_its_channels(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.tile([[0.5, -0.25]], (1_600, 1)), 16_000)
    np.testing.assert_allclose(load_audio(path, 16_000), 0.125, atol=1e-4)


def test_neighbours_of_a_group_are_one_voice_and_batches_are_whole_groups(data: SpeechData) -> None:
    settings = SpeechTrainingSettings(corpora=("first",), corpus_shares=(1.0,), batch=12, group=4)
    prior = data.prior(range(len(data.utterances)))
    everyone = range(len(data.utterances))
    batches = SpeechBatches(data, everyone, prior, [], settings, np.random.default_rng(0))
    drawn = [at for _, (_, _, at, _) in zip(range(20), batches, strict=False)]
    assert {len(at) for at in drawn} == {12}
    voices = [data.utterances[i].speaker for at in drawn for i in at.tolist()]
    groups = [voices[first : first + 4] for first in range(0, len(voices), 4)]
    assert {len(set(group)) for group in groups} == {1}
    assert len({group[0] for group in groups}) == 3


def test_some_groups_are_pieces_that_one_voice_reads_and_come_after_the_utterances(
    data: SpeechData,
) -> None:
    settings = SpeechTrainingSettings(
        corpora=("first",), corpus_shares=(1.0,), batch=8, group=4, read_share=0.5
    )
    everyone = range(len(data.utterances))
    frames = np.zeros((12 * 20, data.plain_mels.frames.shape[1]), np.float16)
    said = [
        Utterance(corpus="read", speaker=f"r{n // 6}", label=Emotion.NEUTRAL) for n in range(12)
    ]
    read = SpeechData(said, {PLAIN: LogMels(frames, 20 * np.arange(1, 13))}, data.adaptation)
    rng = np.random.default_rng(0)
    batches = SpeechBatches(data, everyone, data.prior(everyone), [], settings, rng, read)
    groups = [
        at.tolist()[first : first + 4]
        for _, (_, _, at, _) in zip(range(50), batches, strict=False)
        for first in (0, 4)
    ]
    n = len(data.utterances)
    of_read = [group for group in groups if min(group) >= n]
    assert all(max(group) < n for group in groups if group not in of_read)
    assert 30 < len(of_read) < 70
    assert all(len({said[at - n].speaker for at in group}) == 1 for group in of_read)


def test_before_some_groups_neutral_utterances_alone_were_heard(data: SpeechData) -> None:
    settings = SpeechTrainingSettings(
        corpora=("first",),
        corpus_shares=(1.0,),
        batch=8,
        group=8,
        heard_before=(30,),
        neutral_heard=1.0,
    )
    everyone = range(len(data.utterances))
    prior = data.prior(everyone)
    batches = SpeechBatches(data, everyone, prior, [], settings, np.random.default_rng(0))
    for _, (_, _, at, taken) in zip(range(10), batches, strict=False):
        heard = taken[0].any(dim=0).numpy()
        assert set(data.labels[at.numpy()[heard]]) <= {EMOTIONS.index(Emotion.NEUTRAL)}
    of_one = data.before(0, 30, np.random.default_rng(0), mood=Emotion.NEUTRAL)
    assert {data.utterances[i].label for i in of_one} == {Emotion.NEUTRAL}
    assert {data.utterances[i].speaker for i in of_one} == {data.utterances[0].speaker}


def test_all_of_a_group_comes_through_the_same_microphone_and_noise() -> None:
    rng = np.random.default_rng(0)
    settings = SpeechTrainingSettings(noise_share=1.0, noise_snr_db=(0.0, 0.0), warp=0.1)
    noise = np.zeros((30, 64), np.float32)
    there = Surroundings.drawn(64, [noise], settings, rng)
    speech = rng.normal(size=(2, 40, 64)).astype(np.float32)
    heard = [there.heard(each, Average.of(each), rng) for each in speech]
    added = [
        frames - with_noise(each @ there.tract, noise, 0.0, np.random.default_rng(1))
        for (frames, _), each in zip(heard, speech, strict=True)
    ]
    np.testing.assert_allclose(added, np.broadcast_to(there.microphone, (2, 40, 64)), atol=1e-5)
    for frames, before in heard:  # what was said before came from there, too
        assert before is not None
        np.testing.assert_allclose(before.mean, frames.mean(axis=0), atol=0.02)
