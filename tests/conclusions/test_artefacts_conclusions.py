from intervals import DOWN, NOTHING, OPEN, UP, table

from helpers.conclusions import artefacts


def test_mirroring_is_a_headline_only_where_it_changes_answers():
    assert "the CNN for 0.200 [0.100, 0.300] of 175 test images, although" in artefacts.mirrored(UP, "CNN")
    assert "as it should be" in artefacts.mirrored({"value": 0.005, "low": 0, "high": 0.01, "images": 9}, "CNN")
    title = artefacts.title({"CNN": table(mirror_image=OPEN), "MobileNet": table(mirror_image=UP)})
    assert title.endswith("20 % of the answers of the MobileNet")


def test_what_was_pasted_is_compared_with_a_shift():
    assert "change with hairs" in artefacts.pasted(table(hairs=UP, ruler=UP), table(hairs=UP, ruler=OPEN), "CNN")
    assert "not clearly more than with a shift" in artefacts.pasted(table(ruler=UP), table(ruler=OPEN), "CNN")
    assert artefacts.beyond_shift(UP).startswith("more") and artefacts.beyond_shift(OPEN).startswith("no more")


def test_a_finder_is_trusted_only_with_a_measured_precision():
    assert "unknown" in artefacts.finder(None) and "unknown" in artefacts.finder(NOTHING)
    assert artefacts.finder({"value": 0.95, "low": 0.9, "high": 1}) == "trustworthy"
    assert artefacts.finder({"value": 0.6, "low": 0.4, "high": 0.7}) == "often wrong"
    assert artefacts.finder({"value": 0.9, "low": 0.7, "high": 1}) == "too few findings to tell"
    good = {"value": 0.95, "low": 0.9, "high": 1}
    known = artefacts.found_images(DOWN, "a ruler", "CNN", images=49, precision=good)
    assert "precision 0.950 [0.900, 1.000]), the accuracy of the CNN is lower" in known
    unclear = artefacts.found_images(OPEN, "a ruler", "CNN", images=49, precision=None)
    assert "precision unknown), the accuracy of the CNN does not clearly differ" in unclear
    assert "is higher" in artefacts.found_images(UP, "a ruler", "CNN", images=1, precision=NOTHING)


def test_the_cause():
    assert artefacts.cause(DOWN, UP) == "the artefact is part of it"
    assert "not the artefact" in artefacts.cause(DOWN, OPEN)
    assert artefacts.cause(OPEN, UP).endswith("moves some answers") and "no clear effect" in artefacts.cause(OPEN, OPEN)


def test_the_answer_turns_round():
    changed = table(mirror_image=UP, shift=OPEN, hairs={**UP, "value": 0.4})
    text = artefacts.answer(changed, "CNN")
    assert text.startswith("Yes. ") and "change: hairs 40 %. A mirror image" in text and "changes 20 %" in text
    none = {"value": 0.0, "low": 0.0, "high": 0.0, "images": 9}
    assert artefacts.answer(table(mirror_image=none, shift=none, hairs=none), "CNN").startswith("Hardly. ")
