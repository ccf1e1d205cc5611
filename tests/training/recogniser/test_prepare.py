"""What the recogniser's training is prepared from, and where it is kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from training.errors import CorpusError
from training.recogniser.prepare import Material, cache_folder, prepare
from training.recogniser.settings import RecogniserSettings


def test_features_of_other_noise_or_other_sentences_are_kept_apart() -> None:
    settings = RecogniserSettings()
    training = replace(settings.training, noise="other")
    language = replace(settings.language, corpora=("carer",), weights=(1.0,))
    others = [
        settings,
        replace(settings, training=training),
        replace(settings, language=language),
        replace(settings, seed=2),
    ]
    assert len({cache_folder(Path(), each, "") for each in others}) == len(others)
    assert cache_folder(Path(), settings, "") != cache_folder(Path(), settings, "whisper")
    words = replace(settings.language, words=10)
    assert cache_folder(Path(), replace(settings, language=words), "") == cache_folder(
        Path(), settings, ""
    )


@pytest.mark.parametrize(
    ("manifest", "message"), [(None, "cannot be read"), ("path\na.wav\n", "no column split")]
)
def test_noise_that_is_missing_or_has_no_split_is_refused(
    tmp_path: Path, manifest: str | None, message: str
) -> None:
    if manifest is not None:
        (tmp_path / "esc10").mkdir()
        (tmp_path / "esc10" / "manifest.csv").write_text(manifest, "utf-8")
    found = Material({"train": [], "valid": [], "test": []}, {})
    with pytest.raises(CorpusError, match=rf"esc10/manifest\.csv: {message}"):
        prepare(tmp_path, tmp_path / "cache", RecogniserSettings(), found)
