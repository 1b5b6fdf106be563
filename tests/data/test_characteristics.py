import numpy as np
import pandas as pd

from helpers.data.characteristics import characteristics

SITES = ["back"] * 150 + ["face"] * 50 + ["acral"]
LESIONS = pd.DataFrame(
    {
        "lesion_id": [f"lesion {number // 2}" for number in range(201)],
        "label": ["nv"] * 201,
        "malignant": [True] * 50 + [False] * 151,
        "age": [*np.repeat([30.0, 40.0, 50.0, 60.0], 50), np.nan],
        "sex": pd.Categorical(["male"] * 201, categories=["male", "unknown"]),
        "site": SITES,
        "reference": ["histo"] * 201,
    }
)


def test_each_part_is_described_by_its_own_images():
    part = pd.Series(["test"] * 50 + ["train"] * 151)
    table = characteristics(LESIONS, part)
    assert list(table.columns) == ["test", "train", "all"]
    assert table.loc[["images", "lesions", "malignant"], "test"].tolist() == ["50", "25", "50 (100.0 %)"]
    assert table.loc["malignant", "all"] == "50 (24.9 %)"
    assert table.loc["age", "all"] == "45 (38 to 52)" and table.loc["age unknown", "train"] == "1 (0.7 %)"
    assert table.loc["sex: male", "train"] == "151 (100.0 %)" and "sex: unknown" not in table.index


def test_rare_values_are_summed_up_and_the_frequent_come_first():
    table = characteristics(LESIONS, pd.Series(["train"] * 201))
    assert [row for row in table.index if row.startswith("site")] == ["site: back", "site: face", "site: other"]
    assert table.loc["site: other", "all"] == "1 (0.5 %)"


def test_parts_keep_the_order_of_a_categorical():
    part = pd.Categorical(["test"] * 50 + ["train"] * 151, categories=["train", "validation", "test"])
    assert list(characteristics(LESIONS, pd.Series(part)).columns) == ["train", "test", "all"]
