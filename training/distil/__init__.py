"""From a sentence encoder to the ALBERT of the text branch: ``stser-train distil``.

A teacher several times as large is tuned on the emotions of the text corpora. A student takes over
some of its layers and a narrow table of the word pieces that the corpora use, and then learns, on
every sentence of the corpora, to give the teacher's states and the teacher's opinions.
"""
