"""Hostile input: mutated settings, PCM, audio files, manifests, journals, queries, commands, HTTP and WebSocket bytes.

In the order of the work: ``seeds`` are valid inputs, ``mutation`` harms them, ``parsers`` and ``port`` are what they
are thrown at, ``targets`` lists all, ``attack`` and ``coverage`` throw, ``report`` writes docs/results/fuzz.md.

A target takes bytes. It may refuse them with the error that its contract names; anything else, and anything
that takes longer than a few seconds, is a finding.
"""
