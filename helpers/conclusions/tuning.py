"""Conclusions of 09_tuning: what other folds and other hyperparameters change."""

from collections.abc import Mapping

import pandas as pd

from helpers.sentences import by_sign, pluralise, with_interval


def spread(folds: pd.DataFrame, images: int) -> str:
    """How far a score moves from fold to fold. folds: columns kind (the network's name), fold and value."""
    ends = folds.groupby("kind")["value"].agg(["min", "max"])
    widest = (ends["max"] - ends["min"]).idxmax()
    low, high = ends.loc[widest]
    return (
        f"Depending on which lesions are in the test part, the balanced accuracy of the {widest} ranges from {low:.3f} "
        f"to {high:.3f} ({pluralise(folds['fold'].nunique(), 'fold')}, {images:,} images together)."
    )


def order(pairs: pd.DataFrame, folds: int) -> str:
    """Which networks can be separated. pairs: by `pairwise_differences`, with folds_won, those that `first` won."""
    parts = []
    for row in pairs.to_dict("records"):
        first, second, won = row["first"], row["second"], row["folds_won"]
        figure = {"value": row["value"], "low": row["low"], "high": row["high"]}
        if row["value"] < 0:
            first, second, won = second, first, folds - won
            figure = {"value": -row["value"], "low": -row["high"], "high": -row["low"]}
        verb = by_sign(figure, above="beats", below="loses to", unclear="cannot be separated from")
        parts.append(f"the {first} {verb} the {second} ({with_interval(figure)}, ahead in {won} of {folds} folds)")
    text = "; ".join(parts)
    return f"{text[0].upper()}{text[1:]}."


def reading(pair: Mapping) -> str:
    """What to make of a pair of networks, from value, low and high of first minus second."""
    return by_sign(pair, above=f"{pair['first']} is better", below=f"{pair['second']} is better", unclear="no winner")


def gain_of_search(gain: Mapping[str, Mapping], network: str, trials: int) -> str:
    """Whether the search helped. gain: tuned minus default, on validation and on test."""
    verb = by_sign(gain["test"], above="improves", below="worsens", unclear="does not clearly change")
    return (
        f"A search of {pluralise(trials, 'trial')} {verb} the {network} on test: the balanced accuracy differs by "
        f"{with_interval(gain['test'])}, and by {with_interval(gain['validation'])} on validation, where the "
        f"hyperparameters were chosen."
    )


def answer(folds: pd.DataFrame, pairs: pd.DataFrame, gain: Mapping) -> str:
    """The answer to the notebook's question. folds, pairs: see above; gain: tuned minus default on test."""
    number = folds["fold"].nunique()
    changing = [
        f"{pair['first']} minus {pair['second']} is {with_interval(pair)} over all folds, above zero in "
        f"{pair['folds_won']} of {number}"
        for pair in pairs.to_dict("records")
        if pair["folds_won"] not in (0, number)
    ]
    moved = f"Other test lesions move the balanced accuracy of a network by up to {_widest(folds):.3f}"
    if changing:
        moved += f" and can change the order of networks ({'; '.join(changing)})"
    elif len(pairs):
        moved += ", but the order of the networks is the same in every fold"
    search = by_sign(gain, above="Better hyperparameters help", below="What the search found hurts", unclear="")
    return f"{moved}. {search or 'The search found nothing that clearly helps'} on test."


def title(folds: pd.DataFrame) -> str:
    """The title of the figure of folds. folds: see `spread`."""
    return f"From fold to fold, a network's score moves by up to {_widest(folds):.3f}"


def _widest(folds: pd.DataFrame) -> float:
    return folds.groupby("kind")["value"].agg(lambda values: values.max() - values.min()).max()
