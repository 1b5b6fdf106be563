from intervals import DOWN, NOTHING, OPEN, UP, table

from helpers.conclusions import artefacts

GOOD = {"value": 0.95, "low": 0.9, "high": 1}


def test_mirroring_is_a_headline_only_where_it_changes_answers():
    assert "changes the CNN's answer in 0.200 [0.100, 0.300] of 175 test images, although" in artefacts.mirror_image(
        UP, "CNN"
    )
    assert "as it should be" in artefacts.mirror_image({"value": 0.005, "low": 0, "high": 0.01, "images": 9}, "CNN")
    title = artefacts.title({"CNN": table(mirror_image=OPEN), "MobileNet": table(mirror_image=UP)})
    assert title.endswith("20 % of the answers of the MobileNet")


def test_what_was_pasted_is_compared_with_a_shift():
    assert "change with hairs" in artefacts.worst_artefact(
        table(hairs=UP, ruler=UP), table(hairs=UP, ruler=OPEN), "CNN"
    )
    assert "not clearly more than with a shift" in artefacts.worst_artefact(table(ruler=UP), table(ruler=OPEN), "CNN")
    assert artefacts.beyond_shift(UP).startswith("more") and artefacts.beyond_shift(OPEN).startswith("not clearly")


def test_a_finder_is_trusted_only_with_a_measured_precision():
    assert "unknown" in artefacts.finder(None) and "unknown" in artefacts.finder(NOTHING)
    assert artefacts.finder({"value": 0.95, "low": 0.9, "high": 1}) == "trustworthy"
    assert artefacts.finder({"value": 0.6, "low": 0.4, "high": 0.7}) == "often wrong"
    assert artefacts.finder({"value": 0.9, "low": 0.7, "high": 1}) == "too few findings to tell"


def test_all_artefacts_that_were_found_are_reported():
    gaps, images = {"hairs": OPEN, "ruler": DOWN, "dark corners": UP}, {"hairs": 49, "ruler": 1, "dark corners": 7}
    precisions = {"hairs": GOOD, "ruler": None, "dark corners": NOTHING}
    sentence = artefacts.found_images(gaps, "CNN", images=images, precisions=precisions)
    assert "accuracy of the CNN is not clearly different with hairs (difference 0.010" in sentence
    assert "49 images, precision 0.950 [0.900, 1.000]); lower with a ruler (" in sentence
    assert "1 image, precision unknown); and higher with dark corners (" in sentence


def test_the_cause():
    assert artefacts.cause(DOWN, UP, GOOD) == "the artefact is part of it"
    assert artefacts.cause(DOWN, UP, None) == "what was found is part of it"
    assert artefacts.cause(DOWN, OPEN, {**GOOD, "low": 0.5}) == "not clearly because of what was found"
    assert artefacts.cause(OPEN, UP, GOOD) == "painting over the artefact changes some answers"
    assert artefacts.cause(OPEN, OPEN, GOOD) == "no clear effect"


def test_the_answer_turns_round():
    changed = table(mirror_image=UP, shift=OPEN, hairs={**UP, "value": 0.4})
    text = artefacts.answer(changed, table(hairs=UP), "CNN")
    assert text.startswith(
        "Yes. Pasted on an image, artefacts change the answer of the CNN: hairs in 40 % of the images."
    )
    assert " Hairs do so clearly more often than a shift" in text and text.endswith(
        "image changes 20 % of the answers."
    )
    text = artefacts.answer(changed, table(hairs=OPEN), "CNN")
    assert text.startswith("Not clearly. ") and " None of them does so clearly more often than a shift" in text


def test_the_answer_names_a_single_ruler():
    changed = table(mirror_image=UP, shift=OPEN, hairs=UP, ruler={**UP, "value": 0.1})
    text = artefacts.answer(changed, table(hairs=OPEN, ruler=UP), "CNN")
    assert "hairs in 20 % and a ruler in 10 % of the images. A ruler does so clearly more often" in text
    assert " Hairs and a ruler do so " in artefacts.answer(changed, table(hairs=UP, ruler=UP), "CNN")
    assert "change with a ruler: " in artefacts.worst_artefact(table(ruler=UP), table(ruler=OPEN), "CNN")
