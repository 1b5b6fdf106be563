import json

import numpy as np

from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.means import proportions
from helpers.explanation.measurements import Measurements

LESIONS = np.array(["a", "a", "b", "c"])


def test_figures_are_kept_with_their_images_and_written(tmp_path):
    measured = Measurements(LESIONS, Bootstrap(20), {"best": "CNN"})
    table = measured.keep("mass", {"CNN": [0.0, 1.0, np.nan, 0.5]})
    assert table.loc["CNN", ["value", "images"]].tolist() == [0.5, 3]
    assert measured.keep("some", {"CNN": [1, 0, 0, 1]}, [0, 3], by=proportions).loc["CNN", "low"] > 0
    gap = measured.contrast("gap", {"CNN": [1, 1, 0, 0]}, np.array([True, True, False, False]))
    assert gap.loc["CNN", "value"] == 1
    measured.of(LESIONS[:2]).keep("other images", {"CNN": [1, 0]})
    measured.write(tmp_path)
    written = json.loads((tmp_path / "measures.json").read_text())
    assert written["best"] == "CNN" and written["mass"]["CNN"]["images"] == 3
    assert written["other images"]["CNN"]["value"] == 0.5 and written["gap"]["CNN"]["value"] == 1
