"""A page about an image: it states what its map is worth and the disclaimer, and no words cover others."""

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
from clinic.writing.overlays import overlay
from clinic.writing.pages import Page
from clinic.writing.sentences import describe_maps, describe_operating_point, percent

# Maps behind the centre blob in everything have the longest description.
DEPLOYED = deployment(maps=dict.fromkeys(MAPS, {"value": -0.217, "low": -0.276, "high": -0.16, "images": 1142}))
WARNINGS = ("its colours and contrasts are unlike those of dermatoscopic images", "it is blurred", "it is too small")
MAP = np.zeros((SIDE, SIDE, 3), np.uint8)


def draw(shown: np.ndarray | None = None, **answer) -> Figure:
    """The page of a made-up image."""
    preview = np.asarray(picture(0, SIDE))
    image = Picture(preview, np.zeros(8), SIDE, SIDE, preview=preview)
    return Page("a", image, an_answer(**answer), DEPLOYED, shown).draw()


def texts(page: Figure) -> list[str]:
    """The titles and the texts of a page, each on one line."""
    titles = [axes.get_title(loc="left") for axes in page.axes]
    return [" ".join(text.split()) for text in (*titles, *(text.get_text() for text in page.texts))]


def test_the_worth_of_a_map_stands_before_the_figures_and_in_larger_letters():
    page = draw(MAP)
    lines, sizes = texts(page), {" ".join(text.get_text().split()): text.get_fontsize() for text in page.texts}
    worth = describe_maps(DEPLOYED)
    figures = next(line for line in lines if line.startswith(describe_operating_point(DEPLOYED)))
    assert WAY in lines and lines.index(worth) < lines.index(figures) and sizes[worth] >= 7.5 > sizes[figures]


@pytest.mark.parametrize("abstains", [True, False])
def test_a_page_without_a_map_has_the_disclaimer_and_speaks_of_no_map(abstains):
    lines = texts(draw(abstained=abstains))
    assert DISCLAIMER in lines and not any(WAY in line for line in lines)
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
    page = draw(MAP, warnings=WARNINGS)
    renderer = FigureCanvasAgg(page).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in page.axes]
    boxes += [text.get_window_extent(renderer) for text in page.texts]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x0 >= 0 and box.x1 <= page.bbox.width and box.y0 >= 0 for box in boxes)


def test_a_map_covers_the_image_where_it_is_high():
    preview, shares = np.full((64, 64, 3), 100, np.uint8), np.zeros((SIDE, SIDE), np.float32)
    assert (overlay(preview, shares) == preview).all()
    shares[8:24, 8:24] = 1
    shown = overlay(preview, shares)
    assert (shown[:8] == preview[:8]).all() and (shown[32, 32] != preview[32, 32]).any()
