"""What a study published: models that can be loaded by name, a card about them, and figures to hold a new run against.

from helpers.published import load_model
model, record = load_model("MobileNet, 8 views", study="ham10000_cpu")
probabilities = model.predict(images)          # uint8 [n, side, side, 3] to float32 [n, classes]
"""

from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from helpers.datasets import CREDIT, classes
from helpers.study import StudyError, atomic_path, file_sha256, network_of, read_records, results_folder, with_interval

if TYPE_CHECKING:  # a table of results should not take as long as loading a backend does
    import keras

CARD = "MODEL_CARD.md"
SHOWN = {
    "balanced_accuracy": "balanced accuracy",
    "accuracy": "accuracy",
    "macro_auc": "macro AUC",
    "malignant_auc": "AUC, malignant",
    "malignant_sensitivity": "sensitivity, malignant",
    "malignant_specificity": "specificity, malignant",
    "ece": "calibration error (ECE)",
    "brier": "Brier score",
}


def published_models(study: str, notebook: str = "*") -> dict[str, dict]:
    """The run records of a study's models that can be loaded, by name, best balanced accuracy on validation first.

    A model that only answers its own notebook's question, such as one that saw its test, is none of them; one that is
    read in several views is. notebook: whose records alone are read; by default those of all.
    """
    records = read_records(results_folder(study), compared=True, notebook=notebook)
    records = [record for record in records if record.get("model_sha256") and model_file(record).is_file()]
    records.sort(key=lambda record: -record["validation"]["balanced_accuracy"]["value"])
    return {record["name"]: record for record in records}


def model_file(record: dict) -> Path:
    """Where the model of a record lies; an arm of several views reads that of its notebook."""
    return network_of(record)[0] / "model.keras"


def load_model(name: str, study: str = "ham10000", notebook: str = "*") -> tuple["keras.Model", dict]:
    """A published model, e.g. `CNN`, `CNN-LSTM` or `MobileNet`, and its run record. notebook: as in `published_models`.

    One of several views, such as `MobileNet, 8 views`, turns and mirrors each image itself and answers with the mean.
    The record's `temperature` divides the logarithms of the probabilities to calibrate them, see `metrics.calibrated`;
    its `threshold` is that of malignancy. Raises StudyError if there is no such model, or if its file is not the one
    that the record's figures are about.
    """
    import keras

    import helpers.models  # noqa: F401, its layers are part of saved models

    known = published_models(study, notebook)
    if name not in known:
        raise StudyError(f"{results_folder(study)}: no model {name!r}. There are {', '.join(known) or 'none'}.")
    record = known[name]
    file = model_file(record)
    if (found := file_sha256(file)) != record.get("model_sha256"):
        raise StudyError(
            f"{file}: SHA-256 {found} is not the {record.get('model_sha256')} of its metrics.json. Restore the file "
            f"(`git checkout`), or run {record['notebook']} again."
        )
    saved = keras.saving.load_model(file, safe_mode=True)
    # The file knows its outputs as a list, and would answer a call with one.
    model = keras.Model(saved.inputs[0], saved.outputs[0], name=saved.name)
    _, views = network_of(record)
    return (_in_views(model, views) if views > 1 else model), record


def verify(published: Path, fresh: Path) -> pd.DataFrame:
    """Each test figure of the published records beside that of a fresh run: is it inside of the published interval?

    published, fresh: results folders of a study. One row a figure: model, figure, value, low, high (as published),
    fresh, reproduced (bool; a figure that the fresh run lacks is not). A figure without an interval has to be the same.
    Raises StudyError if the two stand on different splits.
    """
    old, new = (
        {str(record["folder"].relative_to(folder)): record for record in read_records(folder)}
        for folder in (published, fresh)
    )
    splits = [next(iter(records.values()))["split"]["sha256"] for records in (old, new)]
    if splits[0] != splits[1]:
        raise StudyError(f"{fresh} stands on another split than {published}: their test lesions are not the same.")
    rows = []
    for place, record in old.items():
        again = new.get(place, {}).get("test", {})
        for figure, was in record["test"].items():
            value = again.get(figure, {}).get("value")
            rows.append({"model": record["name"], "place": place, "figure": figure, **was, "fresh": value})
    table = pd.DataFrame(rows).astype({"fresh": float})  # a figure that is not there is NaN
    return table.assign(reproduced=[_reproduced(row) for row in table.itertuples()])


def write_card(study: str) -> Path:
    """Write results/<study>/MODEL_CARD.md from the run records; returns its path.

    The headings are those of Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
    """
    known = published_models(study)
    if not known:
        raise StudyError(f"{results_folder(study)}: no model.keras to write a card for. Run `make all STUDY={study}`.")
    first = next(iter(known.values()))
    parts = [_heading(study, first), _models(study, known), _figures(known), _by_class(known), _groups(study)]
    path = results_folder(study) / CARD
    with atomic_path(path) as temporary:
        temporary.write_text("\n\n".join([*parts, _limits(), _use(study, first)]) + "\n", encoding="utf-8")
    return path


def _in_views(model: "keras.Model", views: int) -> "keras.Model":
    """The mean of what a model says of so many turns and mirrorings of each image, as `training.predict` takes it."""
    import keras

    images = keras.Input(model.input_shape[1:], dtype="uint8")
    both = images, keras.ops.flip(images, 2)
    seen = [keras.ops.rot90(one, turns, axes=(1, 2)) for one in both for turns in range(4)]
    return keras.Model(images, keras.layers.Average()([model(one) for one in seen[:views]]))


def _reproduced(row) -> bool:
    if pd.isna(row.value):  # undefined: it has to be so again
        return bool(pd.isna(row.fresh))
    if pd.isna(row.low):
        return bool(row.fresh == row.value)
    return bool(row.low <= row.fresh <= row.high)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _heading(study: str, record: dict) -> str:
    split, dataset = record["split"], record["parameters"]["dataset"]
    names = ", ".join(f"{one.code} ({one.name})" for one in classes(dataset, "diagnosis"))
    side, missing = record["parameters"]["side"], record.get("missing_images", 0)
    listed = f" **{missing:,} images that the publisher lists were missing.**" if missing else ""
    return f"""# Models of the study `{study}`

Networks that tell diagnoses of skin lesions apart in dermatoscopic images. Made to study such networks;
**not a medical device**, not for diagnosis or treatment of anybody.

**Data.** {CREDIT[dataset]} {split["train"]:,} training, {split["validation"]:,} validation and {split["test"]:,} test
images.{listed} No lesion, and no duplicate that was found, is in two parts; split SHA-256 `{split["sha256"]}`,
in `split.csv`. Everything was chosen on validation. Classes: {names}.

**Input and output.** uint8 RGB images of {side} × {side} px, cut to their centre square; softmax probabilities in the
order of the classes above. Scaling is inside the model."""


def _models(study: str, known: dict[str, dict]) -> str:
    rows = []
    for name, record in known.items():
        file = model_file(record)
        rows.append(
            [
                f"[{name}](notebooks/{record['notebook']}.ipynb)",
                f"{record['training']['weights']:,}",
                f"{file.stat().st_size / 1e6:.1f} MB",
                f"{record['temperature']:.3f}",
                f"{record['threshold']:.3f}",
                f"`{record.get('model_sha256')}`",
            ]
        )
    header = ["model", "weights", "file", "temperature", "threshold, malignant", "SHA-256"]
    note = "Each record names the commit, the environment and, as `weights_sha256`, the file of pretrained weights."
    return f"## Models\n\n{_table(header, rows)}\n\n{note}"


def _figures(known: dict[str, dict]) -> str:
    rows = [[label, *[with_interval(record["test"][key]) for record in known.values()]] for key, label in SHOWN.items()]
    note = "In brackets 95 % bootstrap intervals, resampled by lesion."
    return f"## Figures on test\n\n{note}\n\n{_table(['', *known], rows)}"


def _by_class(known: dict[str, dict]) -> str:
    codes = next(iter(known.values()))["per_class"]
    rows = [
        [code, codes[code]["images"], *[with_interval(r["per_class"][code]["recall"], 2) for r in known.values()]]
        for code in codes
    ]
    return f"## Recall of each class\n\n{_table(['class', 'test images', *known], rows)}"


def _groups(study: str) -> str:
    file = results_folder(study) / "07_model_comparison" / "groups.csv"
    if not file.is_file():
        return "## Subgroups\n\nNot computed: 07_model_comparison was not run."
    rows = []
    for group in pd.read_csv(file).itertuples():
        own = {"value": group.malignant_auc, "low": group.malignant_auc_low, "high": group.malignant_auc_high}
        shown = "too few" if pd.isna(group.malignant_auc) else with_interval(own)
        rows.append([group.group, f"{group.lesions:,}", group.malignant_images, shown])
    table = _table(["group of the test images", "lesions", "malignant images", "AUC, malignant"], rows)
    chosen = "[07_model_comparison](notebooks/07_model_comparison.ipynb)"
    return f"## Subgroups\n\nOf the model that {chosen} finds best on validation.\n\n{table}"


def _limits() -> str:
    return """## Limits

- On images of other clinics, cameras and skin types the figures will differ, and be worse. Dark skin is hardly in the
  data, and skin type is not recorded.
- Every training image shows a lesion that somebody found worth photographing. An image of anything else gets an answer
  all the same.
- The intervals speak of other lesions of the same collection, not of another training run.
- Actinic keratosis counts as malignant. Probabilities reflect training with more weight on rare classes: calibrate them
  with the temperature, and do not take them for a risk in a population."""


def _use(study: str, record: dict) -> str:
    return f"""## Load it

```python
from helpers.published import load_model
model, record = load_model("{record["name"]}", study="{study}")
```

**Licence.** The weights were trained on images under CC BY-NC 4.0 and are passed on under the same terms."""
