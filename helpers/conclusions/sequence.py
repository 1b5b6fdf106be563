"""Conclusions of 04_cnn_lstm: whether reading the feature map as a sequence helps."""

from collections.abc import Mapping

from helpers.sentences import by_sign, clear_sign, join, with_interval

CONTROLS = {
    "pooled": "a pooled head with as many weights",
    "fixed": "an LSTM whose steps are shuffled once",
    "fresh": "an LSTM whose steps are shuffled anew for each batch",
}
VERBS = {1: "beats", -1: "loses to", 0: "cannot be separated from"}
ALL = {1: "all three of its controls", -1: "all three of its controls", 0: "any of its three controls"}


def order(gap: Mapping) -> str:
    """What the natural order does, from its score minus that of one fixed shuffle."""
    return by_sign(gap, above="helps", below="hurts", unclear="makes no clear difference")


def rank(gap: Mapping) -> str:
    """What a network does to another one, from the difference of their scores."""
    return VERBS[clear_sign(gap) or 0]


def natural_order(gap: Mapping, network: str, images: int) -> str:
    """Whether the natural order beats a fixed shuffle. network: its name and what it reads."""
    return (
        f"In the {network}, the natural order {order(gap)}: natural minus shuffled once is {with_interval(gap)} on "
        f"{images:,} test images."
    )


def beside_controls(gaps: Mapping[str, Mapping], network: str, images: int) -> str:
    """Which controls a network beats. gaps: its score minus that of a control, by keys of CONTROLS."""
    parts = []
    for sign, verb in VERBS.items():
        group = {head: gap for head, gap in gaps.items() if (clear_sign(gap) or 0) == sign}
        names = join(f"{CONTROLS[head]} ({with_interval(gap)})" for head, gap in group.items())
        if group:
            parts.append(f"{verb} {ALL[sign]}: {names}" if len(group) == len(CONTROLS) else f"{verb} {names}")
    return f"The {network} {join(parts)}, on {images:,} test images."


def beside_plain(gap: Mapping, network: str, images: int, *, trained: tuple[int, int]) -> str:
    """Whether a network beats the plain CNN. trained: how often each of the two was trained."""
    return (
        f"The {network} {rank(gap)} the plain CNN of 03, which has no LSTM and fewer weights: the difference is "
        f"{with_interval(gap)} on {images:,} test images ({_trainings(trained)})."
    )


def repetitions(network: str, trained: tuple[int, int]) -> str:
    """Which networks enter the comparison as means. trained: how often `network` and the plain CNN were trained."""
    if max(trained) == 1:
        return "Every network was trained once, so the intervals leave out how much two trainings differ."
    return (
        f"The {network} and the plain CNN of 03 enter as means ({_trainings(trained)}), and the "
        "intervals include how much these differ. Every other network was trained once."
    )


def _trainings(trained: tuple[int, int]) -> str:
    one, other = trained
    if one != other:
        return f"{one} and {other} trainings"
    return f"{one} trainings of each" if one > 1 else "one training of each"


def answer(gaps: Mapping[str, Mapping], plain: Mapping, network: str) -> str:
    """The answer to the notebook's question. gaps: as in `beside_controls`; plain: minus the plain CNN."""
    signs = [clear_sign(gap) for gap in (gaps["pooled"], gaps["fixed"], plain)]
    start = "No" if -1 in signs else "Yes" if signs[0] == signs[2] == 1 else "Not clearly"
    return (
        f"{start}: the {network} {rank(gaps['pooled'])} {CONTROLS['pooled']} ({with_interval(gaps['pooled'])}), the "
        f"order in which it reads the feature map {order(gaps['fixed'])} ({with_interval(gaps['fixed'])}), and it "
        f"{rank(plain)} the plain CNN of 03 ({with_interval(plain)})."
    )
