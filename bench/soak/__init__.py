"""Hours of mixed audio at many times real time, with faults at random from a seed.

The monitor's own pipeline with recogniser, journal and port. Each of its streams mixes the sentences of the bundled
recording with noise, silence and clipping, loses audio and loses its device (``audio``); the recogniser fails and
hangs now and then (``run``); clients come, vanish and stop to read (``clients``). At the end: memory slope, tasks,
threads and descriptors (``resources``), and every segment accounted for (``report``).
"""
