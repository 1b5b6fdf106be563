"""A page about an image: it states the answer and the disclaimer, and no words cover others."""

from itertools import combinations

import numpy as np
import pytest
from clinical import SIDE, an_answer, deployment
from conftest import picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clinic import DISCLAIMER
from clinic.reading.pictures import Picture
from clinic.writing.pages import Page
from clinic.writing.sentences import percent

WARNINGS = ("its colours and contrasts are unlike those of dermatoscopic images", "it is blurred", "it is too small")


def draw(**answer) -> Figure:
    """The page of a made-up image."""
    preview = np.asarray(picture(0, SIDE))
    image = Picture(preview, np.zeros(8), SIDE, SIDE, preview=preview)
    return Page("a", image, an_answer(**answer), deployment()).draw()


def texts(page: Figure) -> list[str]:
    """The titles and the texts of a page, each on one line."""
    titles = [axes.get_title(loc="left") for axes in page.axes]
    return [" ".join(text.split()) for text in (*titles, *(text.get_text() for text in page.texts))]


@pytest.mark.parametrize("abstains", [True, False])
def test_a_page_has_the_disclaimer_and_bars_only_for_an_answer(abstains):
    lines = texts(draw(abstained=abstains))
    assert DISCLAIMER in lines
    assert ("* counts as malignant" in lines) != abstains


def test_bars_tell_a_small_probability_from_none():
    page = draw(calibrated=np.array([0.9994, 0.0006, *np.zeros(5)]))
    assert [text.get_text() for text in page.axes[-1].texts] == [">99 %", "<1 %", *["0 %"] * 5]


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0 %"), (0.0006, "<1 %"), (0.006, "1 %"), (0.5, "50 %"), (0.994, "99 %"), (0.998, ">99 %"), (1, "100 %")],
)
def test_zero_and_one_hundred_percent_are_exact(share, text):
    assert percent(share) == percent(np.float32(share)) == text


def test_no_words_cover_others():
    page = draw(warnings=WARNINGS)
    renderer = FigureCanvasAgg(page).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in page.axes]
    boxes += [text.get_window_extent(renderer) for text in page.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x0 >= 0 and box.x1 <= page.bbox.width and box.y0 >= 0 for box in boxes)
