"""The model card: docs/model-card.md, and its copy beside the weights."""

from __future__ import annotations

from typing import Final

from stser_core.checkpoint import Description
from training.tables import Results, pictures, sections

COPY: Final = "MODEL_CARD.md"
"""Name of the copy in the checkpoint's folder."""


def model_card(results: Results, description: Description) -> str:
    """The card, with links as from ``docs/``."""
    text = description.sizes.text
    what = _WHAT.format(
        name=results.name,
        layers=text.layers,
        hidden=text.hidden,
        blocks=_blocks(description),
        unlike=_unlike(results) if description.novelty is not None else "",
    )
    return "\n".join([what, _FIGURES, *sections(results, "###"), pictures(""), _LIMITS])


def shipped(card: str) -> str:
    """The card as it lies beside the weights, where the pages of the project are not."""
    text = card.replace("[LICENSE-weights.md](../LICENSE-weights.md)", "LICENSE-weights.md")
    for page in ("results/training.md", "teacher.md"):
        text = text.replace(f"[{page}]({page})", f"docs/{page}")
    return text.replace(pictures(""), "")


def _unlike(results: Results) -> str:
    found = None if results.held_out is None else results.held_out["unlike"]
    if not found:
        return _UNLIKE.format(speech="")
    share = (
        f", and so are {100 * found['speech']:.1f} % of the\nutterances of the speakers set apart"
    )
    return _UNLIKE.format(speech=share)


def _blocks(description: Description) -> str:
    kinds = description.sizes.speech.blocks
    return "one convolution block" if len(kinds) == 1 else f"{len(kinds)} convolution blocks"


_WHAT = """\
# Model card: {name}

**What it is.** The default weights of STSER Monitor: a speech classifier on log-mel ({blocks}, Bi-LSTM, 4-head
self-attention), a text classifier on a small ALBERT ({layers} layers of {hidden}, distilled), a bimodal
classifier on both representations; the verdict is the average of the three. Four classes: angry, happy,
neutral, sad.

**Meant for** research, prototypes of robots and smart homes, and one's own conversation, by people who know
that they are heard. **Not meant for** decisions about people. Emotion inference at work and in schools is
prohibited in the European Union but for medical and safety reasons (AI Act, article 5); elsewhere people must
be told (article 50). This is no legal advice.

**Data.** Speech: RAVDESS (English), Emo-DB (German), nEMO (Polish), all acted, in studios, by 43 people. Text:
GoEmotions, MELD, DailyDialog, CARER, TweetEval. Noise: ESC-10. Sources, citations and licences:
[LICENSE-weights.md](../LICENSE-weights.md). The weights are CC BY-NC-SA 4.0: no commercial purpose.

**Teacher.** The smodel first learnt from 6.5 hours of people who read, and from as much again in other manners by a
vocoder, what the encoder of OpenAI's whisper-base hears in them. Then it learnt labels, together with what regressions
on that encoder's states say of speakers that they never saw, those readers among them ([teacher.md](teacher.md)). The
encoder is in no file of this package.

**Training.** Each utterance is heard at three speeds, in noise, with other microphones and gains, bands and
spans blanked, with other vocal tracts and tempi; two in five come through synthetic rooms and telephones (300 to
3,400 Hz; G.711 or GSM).

**Adaptation.** Log-mel is normalised by a spectrum that starts from the training corpora and follows the voice and the
room as speech is heard, and by level and deviation of the utterance itself; of the speech representation the mean of
those of the last 30 utterances, each less what its emotion as judged adds, is taken off, by half after three of them.
Training simulates both, three times in ten with neutral utterances alone. So a voice is judged by how it differs from
itself, and the first utterances of a stranger are judged worse. These averages hold no words.

**Pairing.** None of the corpora used has English speech whose words carry the emotion, too. The bimodal classifier was
trained on pairs of an utterance and a sentence of *different* corpora that share a label; in some of them voice
and words conflict (then the target is half of each), in some one of the two is missing. It learnt to weigh two
witnesses, not how words and voice go together.

{unlike}**Calibration.** One temperature a classifier. Those of speech and bimodal classifier are found on corpora that
models never heard, because a user's voice is not in the training corpora either; the text classifier's on validation
sentences as they are misheard. The average of the three has none of its own.
"""
_UNLIKE = """\
**Sounds that are no speech.** The checkpoint knows what its training speech is like, and what noise is like.
Music, animals and machines are marked `not_like_training`{speech}.

"""
_FIGURES = """\
## Figures

Mean recall over the four classes (UA, chance .25), for speech on speakers never heard in training (who act the same few
sentences as others of their corpus), for text on the corpora's own test sentences, of which the short ones often are
in the training part, too (docs/results/words.md has figures without them).
"""
_LIMITS = """\
## Limits

- Acted, studio speech. Spontaneous emotion is fainter; expect clearly worse figures on it, and more
  `uncertain`.
- On a corpus that it was not trained on, in another language and another room, it is right less often. Yours is one.
- The words come from a recogniser, which mishears; the figures for text are for sentences as written, without
  punctuation.
- English words only. Voices of children and of the old are not in the data.
- Confidence is set for voices that training had nothing of, by three such corpora; it may be off on yours.

All tables, and the commands that regenerate them: [results/training.md](results/training.md).
"""
