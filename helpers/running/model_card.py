"""The model card of a study: what its published models are for, how good they are, and where they fail."""

from pathlib import Path

import pandas as pd

from helpers.conclusions.prediction import calibration
from helpers.data.lesions import CREDIT, classes
from helpers.evaluation.bootstrap import Bootstrap
from helpers.evaluation.calibration import calibrate
from helpers.evaluation.external import METRICS
from helpers.evaluation.means import means
from helpers.evaluation.predictions import read_parts
from helpers.evaluation.seeds import seed_figures
from helpers.export import FOLDER, PARITY
from helpers.models.published import model_file, published_models
from helpers.reading import read_csv, read_json
from helpers.records import RESTORE, read_records, write_text
from helpers.running.elsewhere import elsewhere_table
from helpers.running.tables import absent_collections
from helpers.sentences import markdown_table, with_interval
from helpers.study import StudyError, results_folder

CARD = "MODEL_CARD.md"
DEPLOYMENT = Path("13_prediction") / "deployment.json"
SHOWN = METRICS | {"ece": "calibration error (ECE)", "brier": "Brier score"}


def write_card(study: str) -> Path:
    """Write results/<study>/MODEL_CARD.md from the run records; returns its path."""
    path = results_folder(study) / CARD
    write_text(path, card_text(study))
    return path


def card_text(study: str) -> str:
    """The model card of a study in Markdown. Raises StudyError if the study has no models.

    The headings are those of Mitchell et al., Model Cards for Model Reporting, FAT* 2019.
    """
    known = published_models(study)
    if not known:
        raise StudyError(f"{results_folder(study)}: no model.keras to write a card for. Run `make all STUDY={study}`.")
    first = next(iter(known.values()))
    parts = [_heading(study, first), _models(study, known), _figures(study, known), _by_class(known), _groups(study)]
    if elsewhere := elsewhere_table(results_folder(study), "notebooks/15_external_validation.ipynb"):
        parts.append(f"## Other clinics\n\n{elsewhere}")
    parts += [_limits(calibration_excess(study)), _use(study, first), _exports(study)]
    return "\n\n".join(parts) + "\n"


def _heading(study: str, record: dict) -> str:
    split, dataset = record["split"], record["parameters"]["dataset"]
    names = ", ".join(f"{one.code} ({one.name})" for one in classes(dataset, "diagnosis"))
    side, missing = record["parameters"]["side"], record.get("missing_images", 0)
    absent = [f", all of {name} among them" for name in absent_collections(results_folder(study))]
    absent = f" **{missing:,} images that the publisher lists were missing{''.join(absent)}.**" if missing else ""
    return f"""# Models of the study `{study}`

Networks that classify skin lesions in dermatoscopic images. They were made to study such networks and are
**not a medical device**: do not use them to diagnose or treat anybody.

**Data.** {CREDIT[dataset]} {split["train"]:,} training, {split["validation"]:,} validation and {split["test"]:,} test
images.{absent} No lesion, and no duplicate that was found, is in more than one part. The split is in `split.csv`,
SHA-256 `{split["sha256"]}`. All choices were made on validation. Classes: {names}.

**Input and output.** Input: uint8 RGB images of {side} × {side} px, cropped to their centre square. Output: softmax
probabilities in the order of the classes above. The model scales the pixels itself."""


def _models(study: str, known: dict[str, dict]) -> str:
    rows = [
        [
            f"[{name}](notebooks/{record['notebook']}.ipynb)",
            f"{record['training']['weights']:,}",
            f"{model_file(record).stat().st_size / 1e6:.1f} MB",
            f"{record['temperature']:.3f}",
            f"{record['threshold']:.3f}",
            f"`{record.get('model_sha256')}`",
        ]
        for name, record in known.items()
    ]
    header = ["model", "weights", "file", "temperature", "threshold, malignant", "SHA-256"]
    note = "Each record has the commit, the environment and, as `weights_sha256`, the file of pretrained weights."
    return f"## Models\n\n{markdown_table(header, rows)}\n\n{note}"


def _figures(study: str, known: dict[str, dict]) -> str:
    rows = [[label, *[with_interval(record["test"][key]) for record in known.values()]] for key, label in SHOWN.items()]
    seeds = seed_figures(results_folder(study))
    for kind, runs in dict.fromkeys((kind, figures["runs"]) for (_, kind), figures in seeds.items()):
        given = [seeds.get((name, kind), {"runs": 0}) for name in known]
        cells = [with_interval(one["balanced_accuracy"]) if one["runs"] == runs else "" for one in given]
        rows.append([f"balanced accuracy, {kind} of {runs} trainings", *cells])
    note = "These are figures of the files above" + (", except for means and ensembles." if seeds else ".")
    note += " In brackets: 95 % bootstrap intervals, resampled by lesion. The glossary explains the "
    note += "[scores](../../docs/glossary.md#scores) and the [class codes](../../docs/glossary.md#class-codes)."
    return f"## Figures on test\n\n{note}\n\n{markdown_table(['', *known], rows)}"


def _by_class(known: dict[str, dict]) -> str:
    codes = next(iter(known.values()))["per_class"]
    rows = [
        [code, codes[code]["images"], *[with_interval(r["per_class"][code]["recall"], 2) for r in known.values()]]
        for code in codes
    ]
    return f"## Recall of each class\n\n{markdown_table(['class', 'test images', *known], rows)}"


def _groups(study: str) -> str:
    file = results_folder(study) / "07_model_comparison" / "groups.csv"
    if not file.is_file():
        return "## Subgroups\n\nNot computed, because 07_model_comparison was not run."
    rows = []
    for group in read_csv(file, RESTORE).to_dict("records"):
        figures = [
            {end: group[f"{name}_{end}".removesuffix("_value")] for end in ("value", "low", "high")}
            for name in ("malignant_auc", "malignant_sensitivity")
        ]
        texts = ["too few" if pd.isna(figure["value"]) else with_interval(figure) for figure in figures]
        rows.append([group["group"], f"{group['lesions']:,}", group["malignant_images"], *texts])
    header = ["group of the test images", "lesions", "malignant images", "AUC, malignant", "sensitivity, malignant"]
    table = markdown_table(header, rows)
    link = "[07_model_comparison](notebooks/07_model_comparison.ipynb)"
    return f"## Subgroups\n\nFor the model that was best on validation in {link}.\n\n{table}"


def calibration_excess(study: str) -> tuple[dict, dict, int] | None:
    """Stated minus true share of malignant test images of the deployed model; None if 13_prediction was not run.

    First with a temperature alone, then with the temperature and biases of the deployment; and the number of images.
    """
    folder = results_folder(study)
    if not (folder / DEPLOYMENT).is_file():
        return None
    deployed = read_json(folder / DEPLOYMENT, RESTORE)
    (record,) = [one for one in read_records(folder, compared=True) if one["name"] == deployed["name"]]
    lesions = read_csv(folder / "split.csv", RESTORE, dtype=str).set_index("image_id")["lesion_id"]
    test = read_parts(record, lesions)[1]
    settings = (record["temperature"], 0.0), (deployed["temperature"], deployed["biases"])
    stated = [calibrate(test, *setting).malignant_score - test.is_malignant for setting in settings]
    table = means(dict(enumerate(stated)), test.lesions, Bootstrap.of(record["parameters"]))
    return table.loc[0].to_dict(), table.loc[1].to_dict(), len(test)


def _limits(excess: tuple[dict, dict, int] | None) -> str:
    stated = "Whether the stated probabilities of malignancy are right was not measured: 13_prediction was not run."
    if excess:
        stated = f"{calibration(*excess)} The biases are in the `deployment.json` of 13_prediction."
    return f"""## Limits

- Expect worse figures on images from other clinics, cameras and skin types. The data contain hardly any dark skin, and
  skin type is not recorded.
- Every training image shows a lesion that somebody found worth photographing. The models also answer images of anything
  else.
- The intervals describe sampling error within the same collection. Only a mean over trainings says how much they vary.
- Actinic keratosis counts as malignant.
- {stated} Stated probabilities hold for the mix of diagnoses of this study and are not the risk in a
  population."""


def _use(study: str, record: dict) -> str:
    return f"""## Load it

```python
from helpers.models.published import load_model
model, record = load_model("{record["name"]}", study="{study}")
```

**Licence.** The weights were trained on images under CC BY-NC 4.0 and are passed on under the same terms."""


def _exports(study: str) -> str:
    file = results_folder(study) / FOLDER / PARITY
    if not file.is_file():
        how = f"`make export STUDY={study}` writes the deployed model as ONNX and LiteRT"
        return f"## Without Keras\n\nNot exported: {how}."
    table = read_csv(file, RESTORE)
    rows = [_export_row(row, bool(number)) for number, row in enumerate(table.to_dict("records"))]
    header = ["program", "file", "same answer", "largest difference of a probability", "balanced accuracy"]
    header += ["minus that of Keras", "ms per image"]
    return f"""## Without Keras

`make export` wrote the model that 13_prediction deployed for programs without Keras, and compared each file with Keras
on the test images. Labels, operating point, calibration, and the checksum of the Keras file are in the files' metadata.
Milliseconds: processor time on one core, one image at a time ({table["device"][0]}).

{markdown_table(header, rows)}"""


def _export_row(row: dict, is_exported: bool) -> list[str]:
    return [
        row["runtime"],
        f"{row['file']}, {row['megabytes']:.1f} MB" if is_exported else row["file"],
        f"{100 * row['agreement']:.1f} %",
        f"{row['largest_difference']:.1g}",
        _with_interval(row, "balanced_accuracy"),
        _with_interval(row, "difference") if is_exported else "",
        f"{row['milliseconds']:.1f}",
    ]


def _with_interval(row: dict, name: str) -> str:
    return with_interval({"value": row[name], "low": row[f"{name}_low"], "high": row[f"{name}_high"]})
