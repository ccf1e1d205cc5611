"""The model card: docs/model-card.md, and its copy beside the weights."""

from __future__ import annotations

from typing import Final

from stser_core.checkpoint import Description
from training.tables import (
    Results,
    gender_table,
    left_out_table,
    pairs_table,
    reliability_table,
    robustness_table,
    speech_table,
    text_table,
)

COPY: Final = "MODEL_CARD.md"
"""Name of the copy in the checkpoint's folder."""


def model_card(results: Results, description: Description) -> str:
    """The card, with links as from ``docs/``."""
    text = description.sizes.text
    parts = [
        _WHAT.format(
            name=results.name, layers=text.layers, hidden=text.hidden, blocks=_blocks(description)
        ),
        "## Figures\n\n" + _FIGURES + speech_table(results),
        "Women and men, 10 utterances heard:\n\n" + gender_table(results),
        "Trained on two corpora and tested on the third, which is another language and another room:\n\n"
        + left_out_table(results),
        "In noise, rooms and on the telephone, 10 utterances heard:\n\n"
        + robustness_table(results),
        "Words, as written, without punctuation:\n\n" + text_table(results),
        "Pairs of speech and text of the same label, of held-out speakers and texts. They say that fusion "
        "works, not how often voice and words agree in life:\n\n" + pairs_table(results),
        "## How far to trust a probability\n\nBounds that validation asks for, below which verdicts are "
        "more often wrong than right:\n" + reliability_table(results) + _PICTURES,
        _LIMITS,
    ]
    return "\n".join(parts)


def shipped(card: str) -> str:
    """The card as it lies beside the weights, where the pages of the project are not."""
    return (
        card.replace("](../LICENSE-weights.md)", "]")
        .replace("](results/training.md)", "]")
        .replace("\n![Confidence against accuracy](images/model/reliability.png)", "")
        .replace("\n![Accuracy against coverage](images/model/coverage.png)", "")
    )


def _blocks(description: Description) -> str:
    kinds = description.sizes.speech.blocks
    return "one convolution block" if len(kinds) == 1 else f"{len(kinds)} convolution blocks"


_WHAT = """\
# Model card: {name}

**What it is.** The default weights of STSER Monitor: a speech classifier on log-mel ({blocks}, Bi-LSTM, 4-head
self-attention, and beside them a short cut of functionals of the log-mel over time), a text classifier on a
small ALBERT ({layers} layers of {hidden}, distilled), a bimodal classifier on both representations; the verdict
is the average of the three. Four classes: angry, happy, neutral, sad.

**Meant for** research, prototypes of robots and smart homes, and one's own conversation, by people who know
that they are heard. **Not meant for** decisions about people. Emotion inference at work and in schools is
prohibited in the European Union but for medical and safety reasons (AI Act, article 5); elsewhere people must
be told (article 50). This is no legal advice.

**Data.** Speech: RAVDESS (English), Emo-DB (German), nEMO (Polish), all acted, in studios, by 43 people. Text:
GoEmotions, MELD, DailyDialog, CARER, TweetEval. Noise: ESC-10. Sources, citations and licences:
[LICENSE-weights.md](../LICENSE-weights.md). The weights are CC BY-NC-SA 4.0: no commercial purpose.

**Training.** Each utterance is heard at three speeds, through synthetic rooms, on a telephone (300 to 3,400 Hz;
G.711 or GSM), in noise, with other microphones and gains, other vocal tracts and tempi. Log-mel is normalised
by statistics that start from the training corpora and follow the voice and the room as speech is heard;
training simulates hearing 0 to 30 utterances before. The statistics hold no words.

**Pairing.** No open corpus has English speech whose words carry the emotion, too. The bimodal classifier was
trained on pairs of an utterance and a sentence of *different* corpora that share a label; in some of them voice
and words conflict (then the target is half of each), in some one of the two is missing. It learnt to weigh two
witnesses, not how words and voice go together.

**Sounds that are no speech.** The checkpoint knows what its training speech is like, and what noise is like.
Music, animals and machines are marked `not_like_training`. The limits let 2 % of the validation speakers'
utterances through as false alarms.

**Calibration.** One temperature a classifier, found on validation speakers and sentences; the average of the
three has none of its own.
"""
_FIGURES = """\
Mean recall over the four classes (UA, chance .25), on speakers and sentences never seen in training; five folds
by speaker. *0 heard*: the first words of a stranger. ECE: expected calibration error after 10 utterances. The
baseline is openSMILE eGeMAPS and a support vector machine on each corpus alone; *oracle* knows all of the
speaker's recordings beforehand.

"""
_PICTURES = """
![Confidence against accuracy](images/model/reliability.png)
![Accuracy against coverage](images/model/coverage.png)
"""
_LIMITS = """\
## Limits

- Acted, studio speech. Spontaneous emotion is fainter; expect clearly worse figures on it, and more
  `uncertain`.
- On a corpus that it was not trained on, it is right far less often: see the table of left-out corpora. Yours
  is one.
- The words come from a recogniser, which mishears; the figures for text are for sentences as written, without
  punctuation.
- English words only. Voices of children and of the old are not in the data.
- Confidence means what it says on voices like those of the training corpora, and too much on others.

All tables, and the commands that regenerate them: [results/training.md](results/training.md).
"""
