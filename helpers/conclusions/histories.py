"""Conclusions of 10_lesion_history: what several photographs and the patient's data add to one image."""

from collections.abc import Mapping

from helpers.sentences import by_sign, clear_sign, percent, pluralise, with_interval


def reading(gain: Mapping, beyond: Mapping | None = None) -> str:
    """What to make of a variant's gain over one image, on all lesions.

    beyond: for a variant that sees several photographs, its gain on lesions that have several, minus that on lesions
    with one, which photographs cannot explain.
    """
    if clear_sign(gain) != 1 or beyond is None:
        return by_sign(gain, above="better than one image", below="worse than one image", unclear="no clear gain")
    photographs = clear_sign(beyond) == 1
    return "better, thanks to the photographs" if photographs else "better, but not clearly due to the photographs"


def photographs(gain: Mapping, beyond: Mapping | None, lesions: int) -> str:
    """Whether several photographs say more than one, from the gain of the sequence on all lesions."""
    verb = by_sign(gain, above="is better than", below="is worse than", unclear="is not clearly better than")
    control = ""
    if beyond:
        larger = by_sign(beyond, above="is larger", below="is smaller", unclear="is not clearly larger")
        control = f"; the gain {larger} on lesions with several photographs than on those with one (difference "
        control += f"{with_interval(beyond)})"
    return (
        f"Reading all photographs of a lesion with an LSTM {verb} reading one: the balanced accuracy differs by "
        f"{with_interval(gain)} on {pluralise(lesions, 'test lesion')}{control}."
    )


def patients(gain: Mapping, alone: Mapping) -> str:
    """Whether age, sex and site add to the image. gain: image and patient minus image; alone: score of patient only."""
    verb = by_sign(gain, above="helps", below="hurts", unclear="makes no clear difference")
    return (
        f"Adding age, sex and body site to one image {verb}: the balanced accuracy differs by {with_interval(gain)}; "
        f"without any image they reach {with_interval(alone)}."
    )


def order(difference: Mapping | None, dated: bool) -> str:
    """Whether the order of photographs matters. difference: in order minus shuffled; None if lesions are too few."""
    if difference is None:
        return "The order of the photographs cannot be judged: no diagnosis has 5 test lesions with several of them."
    what = "of the visits" if dated else "of the photographs, which are not dated,"
    verb = by_sign(difference, above="helps", below="hurts", unclear="makes no clear difference")
    return f"The order {what} {verb}: in order minus shuffled, the balanced accuracy is {with_interval(difference)}."


def answer(photographs: Mapping, beyond: Mapping | None, patients: Mapping) -> str:
    """The answer to the notebook's question, from the gains over one image; beyond: as in `reading`."""
    seen = {
        "better, thanks to the photographs": "Several photographs are better than one",
        "better, but not clearly due to the photographs": "Reading several photographs is better than reading one, "
        "but not clearly because of the photographs",
        "better than one image": "Reading several photographs is better than reading one",
    }.get(reading(photographs, beyond), "Several photographs are not clearly better than one")
    facts = by_sign(patients, above="helps", below="hurts", unclear="makes no clear difference")
    return f"{seen}. Adding the patient's age, sex and body site {facts}."


def title(gains: Mapping[str, Mapping]) -> str:
    """The title of the figure of gains over one image. gains: on all lesions, by variant."""
    better = sum(clear_sign(gain) == 1 for gain in gains.values())
    return f"{better or 'None'} of {len(gains)} variants {'is' if better < 2 else 'are'} clearly better on all lesions"


def histology(shares: Mapping[bool, float]) -> str:
    """How much the kind of reference gives away. shares: of malignant images, with (True) and without histology."""
    if len(shares) < 2:
        return "The table does not say how each diagnosis was made."
    return (
        f"{percent(shares[True])} of the images that were diagnosed by histopathology are malignant, and "
        f"{percent(shares[False])} of the others."
    )


def without_patient(against: Mapping) -> str:
    """Whether a network that is told nothing of the patient is as good as one image. against: it minus one image."""
    return by_sign(
        against,
        above="still better than one image",
        below="falls below one image",
        unclear="no clear difference from one image",
    )
