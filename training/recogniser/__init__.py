"""The embedded English recogniser, from corpora to a folder that Vosk loads.

The modules in the order the data walks: ``lexicon`` (words to phones), ``sentences`` (text corpora to
what people say), ``language_model`` (sentences to n-grams), ``speech`` and ``synthesis`` (recordings,
and what synthesisers say), ``styles`` (other ways to say the same), ``features`` (log-mel, cached),
``batches`` (noise and rooms, at training time), ``acoustic_model`` and ``lfmmi`` (the network and its
objective), ``trainer``, ``kaldi_model`` (the network in Kaldi's format), ``graph`` (words to HMM states),
``export`` (the folder), ``evaluation`` and ``report`` (what Vosk makes of it).
"""
