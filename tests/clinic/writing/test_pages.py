"""A page about an image: what its map is worth and the disclaimer stand on it, and no words cover others."""

from itertools import combinations

import numpy as np
import pytest
from clinical import SIDE, an_answer, deployment
from conftest import picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clinic import DISCLAIMER
from clinic.answering.deployment import MAPS, WAY
from clinic.reading.pictures import Picture
from clinic.writing.pages import draw_page
from clinic.writing.sentences import percent

BEHIND = {"value": -0.217, "low": -0.276, "high": -0.16, "images": 1142}
WARNINGS = ("its colours and contrasts are unlike those of dermatoscopic images", "it is blurred", "it is too small")
MAP = np.zeros((SIDE, SIDE, 3), np.uint8)


def page(mapped: np.ndarray | None, **other) -> Figure:
    """The page of a made-up image, its map behind the centre blob in everything: the longest words there are."""
    shown = np.asarray(picture(0, SIDE))
    deployed = deployment(maps=dict.fromkeys(MAPS, BEHIND))
    return draw_page("a", Picture(shown, np.zeros(8), SIDE, SIDE, preview=shown), an_answer(**other), deployed, mapped)


def words(drawn: Figure) -> str:
    """All that stands on a page, on one line."""
    titles = [axes.get_title(loc="left") for axes in drawn.axes]
    return " ".join(" ".join([*titles, *(text.get_text() for text in drawn.texts)]).split())


def test_a_page_names_the_way_of_its_map_and_tells_what_it_is_worth():
    shown = words(page(MAP))
    assert deployment(maps=dict.fromkeys(MAPS, BEHIND)).map_told() in shown
    assert f" {WAY} " in shown and "Where the model looked" not in shown
    assert WAY not in words(page(None))


def test_what_a_map_is_worth_stands_before_the_figures_and_larger():
    worth = deployment(maps=dict.fromkeys(MAPS, BEHIND)).map_told()
    texts = [" ".join(text.get_text().split()) for text in page(MAP).texts]
    own, figures = texts.index(worth), next(n for n, text in enumerate(texts) if text.startswith(deployment().limit()))
    assert own < figures and page(MAP).texts[own].get_fontsize() >= 7.5


@pytest.mark.parametrize(
    ("share", "told"),
    [
        (0, "0%"),
        (0.0006, "<1%"),
        (0.0045, "<1%"),
        (0.006, "1%"),
        (0.5, "50%"),
        (0.994, "99%"),
        (0.998, ">99%"),
        (1, "100%"),
    ],
)
def test_a_share_is_nothing_or_all_only_where_it_is(share, told):
    assert percent(share) == percent(np.float32(share)) == told


def test_bars_tell_a_small_probability_from_none():
    drawn = page(None, calibrated=np.array([0.9994, 0.0006, *np.zeros(5)]))
    assert [text.get_text() for text in drawn.axes[-1].texts] == [">99%", "<1%", *["0%"] * 5]


@pytest.mark.parametrize("silent", [True, False])
def test_the_disclaimer_is_on_every_page(silent):
    assert DISCLAIMER in words(page(None, silent=silent))


def test_no_words_cover_others():
    drawn = page(MAP, warnings=WARNINGS)
    renderer = FigureCanvasAgg(drawn).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in drawn.axes]
    boxes += [text.get_window_extent(renderer) for text in drawn.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x0 >= 0 and box.x1 <= drawn.bbox.width and box.y0 >= 0 for box in boxes)
