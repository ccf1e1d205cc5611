from __future__ import annotations

import pytest

from stser_core.sizes import SpeechModelSettings, StserSettings, TextModelSettings


@pytest.mark.parametrize(
    ("kind", "change", "name"),
    [
        (SpeechModelSettings, {"kernel_time": 4}, "speech.kernel_time"),
        (SpeechModelSettings, {"pool_mels": 66}, "speech.pool_mels"),
        (SpeechModelSettings, {"stride_time": 3}, "speech.stride_time"),
        (SpeechModelSettings, {"stride_mels": 0}, "speech.stride_mels"),
        (SpeechModelSettings, {"heads": 5}, "speech.heads"),
        (SpeechModelSettings, {"dropout": 1.0}, "speech.dropout"),
        (SpeechModelSettings, {"hidden": 0}, "speech.hidden"),
        (SpeechModelSettings, {"n_mels": 12, "short_cut": True}, "speech.n_mels"),
        (TextModelSettings, {"heads": 7}, "text.heads"),
        (TextModelSettings, {"groups": 3}, "text.groups"),
        (TextModelSettings, {"max_tokens": 2}, "text.max_tokens"),
        (StserSettings, {"classifier_dropout": -0.1}, "classifier_dropout"),
    ],
)
def test_sizes_that_make_no_network_are_refused_by_name(
    kind: type, change: dict[str, float], name: str
) -> None:
    with pytest.raises(ValueError, match=name.replace(".", r"\.")):
        kind(**change)
