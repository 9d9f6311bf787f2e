"""The settings of a training within a budget."""

from dataclasses import replace

import pytest

from niwaki.adaptation.learning import PUBLISHED, SURROGATES, Settings, settings_for
from niwaki.types import NiwakiError


def test_each_surrogate_has_its_settings():
    assert [settings_for(surrogate).surrogate for surrogate in SURROGATES] == list(SURROGATES)
    assert settings_for("through") == Settings()
    assert settings_for("published", 7) == replace(PUBLISHED, steps=7)


def test_the_published_ones_are_those_of_the_paper():
    p = PUBLISHED
    assert (p.rate, p.batches, p.epochs, p.gamma, p.lam, p.clip, p.steps) == (5e-5, 4, 4, 0.99, 0.95, 0.2, 30_000)


@pytest.mark.parametrize("name", ["steps", "episodes", "epochs", "batches"])
def test_nothing_can_be_learnt_from_nothing(name):
    with pytest.raises(NiwakiError, match=f"{name} must be at least 1, got 0"):
        replace(PUBLISHED, **{name: 0})


def test_wrong_ones_are_refused():
    with pytest.raises(NiwakiError, match="the surrogate is one of through, published, got 'magic'"):
        settings_for("magic")
    with pytest.raises(NiwakiError, match="steps must be at least 1, got -1"):
        settings_for("through", -1)
