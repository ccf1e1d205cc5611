"""The live pipeline: one file a stage, in the order the audio walks."""
