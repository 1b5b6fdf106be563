"""A page about an image: one line, the image, the probabilities and their worth, and no words cover others."""

from itertools import combinations

import numpy as np
import pytest
from clinical import PLACE, SIDE, an_answer, deployment
from conftest import picture
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from clinic import DISCLAIMER
from clinic.answering.answers import UNLIKE, UNSURE
from clinic.reading.pictures import ImageFormat, from_array
from clinic.writing.images import show_image
from clinic.writing.pages import Page
from clinic.writing.sentences import percent

WARNINGS = ("the colours are unusual for a dermatoscopic image, so the answer may be wrong", "the image is small")
PIXELS = np.asarray(picture(0, 90))


def draw(place=None, **answer) -> Figure:
    """The page of a made-up image."""
    image = from_array(PIXELS[:60], ImageFormat(SIDE, preview=SIDE))
    return Page("a", image, an_answer(**answer), deployment(), place).draw()


def texts(page: Figure) -> list[str]:
    """The titles and the texts of a page, each on one line."""
    titles = [axes.get_title(loc="left") for axes in page.axes]
    return [" ".join(text.split()) for text in (*titles, *(text.get_text() for text in page.texts))]


@pytest.mark.parametrize("reason", ["", UNLIKE, UNSURE])
def test_a_page_has_its_line_the_disclaimer_and_bars_only_for_an_answer(reason):
    lines = texts(draw(reason=reason))
    assert DISCLAIMER in lines and sum(line.startswith(("Suspicious:", "No answer:")) for line in lines) == 1
    assert any("(orange bars)" in line for line in lines) != bool(reason)
    assert not any(word in " ".join(lines) for word in ("energy", "logit", "score", "Grad-CAM"))


def test_patient_and_study_are_named_where_they_may_be():
    about = texts(draw(PLACE))
    assert any("Muster Erika · patient P-17 · born 1964-08-12 · image of 2024-02-29" in line for line in about)
    assert "Image a" in texts(draw()) and "Muster" not in " ".join(texts(draw()))


def test_bars_tell_a_small_probability_from_none_and_the_highest_is_first():
    page = draw(probabilities=np.array([0.0006, 0.9994, *np.zeros(5)]))
    assert [text.get_text() for text in page.axes[-1].texts] == [">99 %", "<1 %", *["0 %"] * 5]


@pytest.mark.parametrize("size", [(60, 90), (90, 60), (60, 60)])
def test_the_whole_image_is_shown_with_what_the_program_saw_in_its_colours(size):
    image = from_array(PIXELS[: size[0], : size[1]], ImageFormat(SIDE, preview=90))
    shown, caption = show_image(image)
    assert shown.shape[0] * size[1] == shown.shape[1] * size[0]
    assert ("inside the frame" in caption) == (size[0] != size[1]) != ("the whole image" in caption)
    assert "The scale is not known." in caption
    if size == (60, 90):  # the middle as it was, the edges paler
        assert (shown[5:-5, 20:70] == PIXELS[5:55, 20:70]).all() and shown[:, :14].mean() > PIXELS[:60, :14].mean()


def test_the_scale_is_a_bar_where_it_is_known():
    image = from_array(np.zeros((90, 90, 3), np.uint8), ImageFormat(SIDE, preview=90))
    shown, caption = show_image(image, spacing=0.1)
    assert caption.endswith("The bar is 5 mm long.") and (shown[-10].min(axis=1) == 255).sum() == 49


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (0, "0 %"),
        (0.0006, "<1 %"),
        (0.006, "<1 %"),
        (0.012, "1 %"),
        (0.5, "50 %"),
        (0.988, "99 %"),
        (0.994, ">99 %"),
        (1, "100 %"),
    ],
)
def test_zero_and_one_hundred_percent_are_exact(share, text):
    assert percent(share) == percent(np.float32(share)) == text


@pytest.mark.parametrize("answer", [{}, {"reason": UNLIKE}])
def test_no_words_cover_others(answer):
    page = draw(PLACE, warnings=WARNINGS, **answer)
    renderer = FigureCanvasAgg(page).get_renderer()
    boxes = [axes.get_tightbbox(renderer) for axes in page.axes]
    boxes += [text.get_window_extent(renderer) for text in page.texts if text.get_text()]
    assert not [pair for pair in combinations(boxes, 2) if pair[0].overlaps(pair[1])]
    assert all(box.x0 >= 0 and box.x1 <= page.bbox.width and box.y0 >= 0 for box in boxes)
