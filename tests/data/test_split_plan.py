"""Splits keep participants apart and are alike in age and sex."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from scripts.data.split_plan import Participant, plan_splits, strata
from scripts.errors import InputError


def participants(count: int, seed: int = 0) -> list[Participant]:
    rng = np.random.default_rng(seed)
    return [Participant(f"p{n:03d}", float(rng.integers(20, 80)), str(rng.choice(["f", "m"]))) for n in range(count)]


def test_everyone_is_in_the_test_set_or_in_one_validation_fold() -> None:
    plan = plan_splits(participants(72), test_share=1 / 6)
    assert len(plan.test) == 12
    assert len(plan.folds) == 5
    validated = Counter(name for _, val in plan.folds for name in val)
    assert set(validated.values()) == {1}
    assert set(validated) | set(plan.test) == {participant.name for participant in participants(72)}
    for train, val in plan.folds:
        assert len(val) == 12
        assert not set(train) & set(val)
        assert not {*train, *val} & set(plan.test)
        assert set(train) | set(val) == set(validated)


def test_seed_decides_and_the_order_of_subjects_does_not() -> None:
    expected = plan_splits(participants(40), seed=1)
    assert plan_splits(participants(40)[::-1], seed=1) == expected
    assert plan_splits(participants(40), seed=2) != expected


def test_splits_are_more_alike_in_age_and_sex_than_by_chance() -> None:
    """Spread of the folds' mean age and share of women, against plans that know neither; 20 seeds each."""

    def spread(known: bool, seed: int) -> tuple[float, float]:
        persons = {participant.name: participant for participant in participants(100, seed)}
        given = list(persons.values()) if known else [Participant(name) for name in persons]
        plan = plan_splits(given, seed=seed)
        parts = [plan.test, *(val for _, val in plan.folds)]
        ages = [np.mean([persons[name].age for name in part]) for part in parts]
        women = [np.mean([persons[name].sex == "f" for name in part]) for part in parts]
        return float(np.std(ages)), float(np.std(women))

    stratified = np.mean([spread(True, seed) for seed in range(20)], axis=0)
    by_chance = np.mean([spread(False, seed) for seed in range(20)], axis=0)
    # By chance the mean of 17 participants varies by 17 years/sqrt(17) = 4.2 and 0.12; quarters of age take most of it away.
    assert (stratified < 0.6 * by_chance).all()


def test_lesion_sets_get_validation_and_test() -> None:
    plan = plan_splits(participants(20), role="lesion", val_share=0.25)
    ((train, val),) = plan.folds
    assert (len(train), len(val), len(plan.test)) == (0, 5, 15)
    assert not set(val) & set(plan.test)


def test_one_fold_and_no_test_set_are_possible() -> None:
    plan = plan_splits(participants(10), num_folds=1, test_share=0, val_share=0.2)
    ((train, val),) = plan.folds
    assert (len(train), len(val), len(plan.test)) == (8, 2, 0)


@pytest.mark.parametrize("count", range(6, 30, 3))
def test_few_subjects_of_whom_little_is_known_are_divided_too(count: int) -> None:
    persons = participants(count)
    persons[0], persons[1] = Participant("p000"), Participant("p001", None, "f")
    plan = plan_splits(persons, num_folds=3, test_share=0.2)
    assert all(train and val for train, val in plan.folds)
    assert plan.test


def test_strata_are_as_fine_as_there_are_subjects_for() -> None:
    persons = [Participant(f"{sex}{age}", float(age), sex) for sex in "fm" for age in range(20)]
    assert set(Counter(strata(persons, 5)).values()) == {5}
    assert set(Counter(strata(persons, 10)).values()) == {10}
    assert set(strata(persons, 20)) == {"f0", "m0"}
    assert len(set(strata(persons, 21))) == 1
    few = [*persons[:20], Participant("x", None, "")]
    assert len(set(strata(few, 20))) == 1, "someone of whom nothing is known joins the others"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_folds": 0}, "`num_folds` must be a whole number from 1 on, got 0"),
        ({"num_folds": 9}, "7 subjects outside the test set are too few for 9 folds. Use --num_folds 7 or fewer"),
        ({"test_share": 1.0}, "`test_share` must lie between 0 and 1, got 1.0"),
        ({"role": "lesion", "val_share": 0}, "`val_share` must lie between 0 and 1, got 0"),
    ],
)
def test_numbers_that_cannot_be_used_are_named(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        plan_splits(participants(8), **options)


def test_one_subject_cannot_be_divided() -> None:
    with pytest.raises(InputError, match="1 subjects are too few to be divided"):
        plan_splits(participants(1))
