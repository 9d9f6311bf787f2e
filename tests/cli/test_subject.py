"""Which task a command is about."""

from __future__ import annotations

import pytest

from niwaki.cli import subject
from niwaki.cli.subject import has_teacher, task_of, task_of_teacher
from niwaki.types import NiwakiError

TEACHERS = {
    "cartpole": "cartpole",
    "lunarlander-continuous": "lunarlander-continuous",  # which begins with the name of another task
    "reach-avoid-base": "reach-avoid",
    "reach-avoid-task": "reach-avoid",  # trained without the hazard, flown with it
}


@pytest.fixture(autouse=True)
def bundled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "teacher_names", lambda: (*TEACHERS, "cartpoles"))


@pytest.mark.parametrize("teacher", TEACHERS)
def test_a_bundled_teacher_knows_the_task_that_it_is_named_after(teacher: str) -> None:
    assert task_of_teacher(teacher) == TEACHERS[teacher]
    assert has_teacher(TEACHERS[teacher])
    assert task_of(teacher, "pendulum").name == "pendulum"


def test_a_command_about_a_teacher_needs_no_task() -> None:
    assert task_of("reach-avoid-base", None).name == "reach-avoid"


@pytest.mark.parametrize("source", ["reach-avoid", "cartpole-v0", "cartpole.safetensors", "reach-avoid-b", "cartpoles"])
def test_whatever_else_needs_the_name_of_a_task(source: str) -> None:
    assert task_of_teacher(source) is None
    with pytest.raises(NiwakiError, match="which task"):
        task_of(source, None)


def test_a_task_has_no_teacher_where_none_is_named_after_it() -> None:
    assert not any(map(has_teacher, ("cartpole-v0", "lunarlander", "pendulum", "reach-avoid-reset-goal")))
