"""Conclusions of 14_unknown: how well confidence tells what a network knows from what it does not."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, clear_sign, join, percent, with_interval

CHANCE, USEFUL = 0.5, 0.8  # areas under the ROC curve: of guessing, and from which on a score is of practical use


def strength(auc: Mapping) -> str:
    """An area under the ROC curve for telling known from unknown, in words."""
    if pd.isna(auc["low"]):
        return "not known"
    if auc["low"] > USEFUL:
        return "tells them apart well"
    if auc["low"] > CHANCE:
        return "tells them apart, but weakly"
    return "more confident about the unknown" if auc["high"] < CHANCE else "not clearly better than chance"


def detection(aucs: pd.DataFrame, unknown: list[str], images: tuple[int, int]) -> str:
    """How well the better score tells known from unknown. aucs: rows by score; images: known and unknown."""
    best = aucs["value"].astype(float).idxmax()
    return (
        f"Confidence {_separates(aucs.loc[best])} known diagnoses from {join(unknown)}, which the network never saw: "
        f"the AUC of the better score, the {best}, is {with_interval(aucs.loc[best])} ({images[0]:,} known and "
        f"{images[1]:,} unknown images; 0.5 is chance)."
    )


def threshold(gaps: Mapping[str, Mapping], coverage: float) -> str:
    """Whether a threshold abstains more on the unknown. gaps: share answered, known minus unknown, by score."""
    helps, hurts = ([name for name, gap in gaps.items() if clear_sign(gap) == sign] for sign in (1, -1))
    figures = ", ".join(f"{with_interval(gap)} with the {name}" for name, gap in gaps.items())
    often = [("more", helps)] * bool(helps) + [("less", hurts)] * bool(hurts)
    words = [f"{more} often" + f" with the {join(scores)}" * (len(scores) < len(gaps)) for more, scores in often]
    verdict = "abstains " + " and ".join(words) if words else "does not clearly abstain more often"
    return (
        f"A threshold that answers {percent(coverage)} of the known validation images {verdict} on unknown than on "
        f"known diagnoses: share answered, known minus unknown, {figures}."
    )


def abstention_gap(gap: Mapping) -> str:
    """The share answered of known minus unknown diagnoses, in words."""
    return by_sign(
        gap, above="abstains more on the unknown", below="abstains more on the known", unclear="no clear difference"
    )


def risks(means: Mapping[str, Mapping], difference: Mapping) -> str:
    """Which score avoids more errors on known diagnoses. means: mean risk by score; difference: first minus second."""
    first, second = means
    better = by_sign(
        difference,
        above=f"the {second} avoids more errors",
        below=f"the {first} avoids more errors",
        unclear="neither score clearly avoids more errors",
    )
    return (
        f"If the least confident answers are left out, {better} on known diagnoses: mean risk "
        f"{with_interval(means[first])} by the {first} and {with_interval(means[second])} by the {second}."
    )


def other_source(gaps: Mapping[str, Mapping]) -> str:
    """How a network does on a source that it was not trained on. gaps: without the source minus with it, by source."""
    worse = [name for name, gap in gaps.items() if clear_sign(gap) == -1]
    figures = "; ".join(f"{name}: {with_interval(gap)}" for name, gap in gaps.items())
    verdict = f"worse on {join(worse)}" if worse else "not clearly worse"
    return (
        f"Trained without a source and tested on it, the network is {verdict} than one that was trained "
        f"on all sources (balanced accuracy without minus with, {figures})."
    )


def title(aucs: pd.DataFrame) -> str:
    """The title of the figure of AUCs. aucs: one row per score and set of unknown diagnoses."""
    useful = sum(row["low"] > USEFUL for _, row in aucs.iterrows())
    if useful:
        return f"{useful} of {len(aucs)} tell known from unknown well"
    above = sum(row["low"] > CHANCE for _, row in aucs.iterrows())
    return f"{above} of {len(aucs)} are better than chance, none tells known from unknown well"


def answer(auc: Mapping, gaps: Mapping[str, Mapping]) -> str:
    """The answer to the notebook's question. auc: of the better score; gaps: as in `threshold`."""
    less = "with somewhat less" if pd.notna(auc["low"]) and auc["low"] > CHANCE else "with not clearly less"
    helps, not_so = ([name for name, gap in gaps.items() if (clear_sign(gap) == 1) == is_so] for is_so in (True, False))
    verb = "it abstains" if helps else "it does not clearly abstain"
    which = f"the {join(helps)}" if helps and not_so else "confidence"
    rest = f"; with one on the {join(not_so)}, this is not clear" if helps and not_so else ""
    return (
        f"It names one of the diagnoses that it knows, {less} confidence. With a threshold on {which}, {verb} more "
        f"often on unknown than on known diagnoses{rest}."
    )


def _separates(auc: Mapping) -> str:
    if pd.isna(auc["low"]) or auc["low"] <= CHANCE:
        return "does not clearly separate"
    return "separates" if auc["low"] > USEFUL else "hardly separates"
