"""Corpora on disk as lists of :class:`~training.utterance.Utterance`."""

from training.corpora.csv_manifest import read_manifest, read_texts

__all__ = ["read_manifest", "read_texts"]
