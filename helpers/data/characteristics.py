"""What the images of each part of the split show: the first table of a clinical report."""

import pandas as pd

from helpers.sentences import percent

COLUMNS = {"label": "diagnosis", "sex": "sex", "site": "site", "reference": "reference standard"}
RARE = 0.01  # sites and other values with a smaller share of all images, except `unknown`, become `other`


def characteristics(lesions: pd.DataFrame, part: pd.Series) -> pd.DataFrame:
    """Counts of images by part, as text: one row per value, one column per part and one for all images.

    lesions: a `lesions` table; part: of each image, with the index of `lesions`, categorical or str. Percentages are of
    the images of a part. The row `age` holds the median and the quartiles in years.
    """
    table = lesions.assign(**{column: _without_rare(lesions[column]) for column in COLUMNS})
    groups = {str(name): table[part == name] for name in pd.unique(part.sort_values())} | {"all": table}
    return pd.DataFrame({name: _describe(group, table) for name, group in groups.items()})


def _without_rare(column: pd.Series) -> pd.Series:
    share = column.map(column.value_counts(normalize=True)).astype(float)
    return column.astype(str).where((share >= RARE) | (column == "unknown"), "other")


def _describe(group: pd.DataFrame, table: pd.DataFrame) -> dict[str, str]:
    """The column of one group; table: all images, whose values are listed in the order of their frequency."""
    low, middle, high = group["age"].quantile([0.25, 0.5, 0.75])
    rows = {"images": f"{len(group):,}", "lesions": f"{group['lesion_id'].nunique():,}"}
    rows["malignant"] = _share(group["malignant"])
    rows["age"] = f"{middle:.0f} ({low:.0f} to {high:.0f})"
    rows["age unknown"] = _share(group["age"].isna())
    for column, name in COLUMNS.items():
        rows |= {f"{name}: {value}": _share(group[column] == value) for value in table[column].value_counts().index}
    return rows


def _share(chosen: pd.Series) -> str:
    return f"{chosen.sum():,} ({percent(chosen.mean(), 1)})"
