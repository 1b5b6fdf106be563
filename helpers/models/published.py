"""The trained networks of a study, loaded by name and checked against their record.

from helpers.models.published import load_model
model, record = load_model("MobileNet, 8 views", study="ham10000_cpu")
probabilities = model.predict(images)          # uint8 [n, side, side, 3] to float32 [n, classes]
"""

from pathlib import Path
from typing import TYPE_CHECKING

from helpers.records import file_sha256, network_of, read_records
from helpers.study import StudyError, results_folder

if TYPE_CHECKING:  # a table of results should not take as long as loading a backend does
    import keras


def published_models(study: str, notebook: str = "*") -> dict[str, dict]:
    """The run records of a study's models that can be loaded, by name, best balanced accuracy on validation first.

    A model that only answers its notebook's question, such as one that saw its test, is left out. notebook: the only
    one to read records of; by default all are read.
    """
    records = read_records(results_folder(study), compared=True, notebook=notebook)
    records = [record for record in records if record.get("model_sha256") and model_file(record).is_file()]
    records.sort(key=lambda record: -record["validation"]["balanced_accuracy"]["value"])
    return {record["name"]: record for record in records}


def model_file(record: dict) -> Path:
    """The model file of a record; a variant of several views shares that of its notebook."""
    return network_of(record)[0] / "model.keras"


def load_model(name: str, study: str = "ham10000", notebook: str = "*") -> tuple["keras.Model", dict]:
    """A published model, e.g. `CNN`, `CNN-LSTM` or `MobileNet`, and its run record. notebook: as in `published_models`.

    A model of several views, such as `MobileNet, 8 views`, turns and mirrors each image itself and gives the mean.
    The record's `temperature` divides the logarithms of the probabilities to calibrate them; its `threshold` is that of
    malignancy. Raises StudyError if there is no such model, or if its file is not the one that was judged.
    """
    import keras

    import helpers.models.networks  # noqa: F401, registers the layers of saved models

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
    # Loaded as it is, the model would answer a call with a list.
    model = keras.Model(saved.inputs[0], saved.outputs[0], name=saved.name)
    _, views = network_of(record)
    return (average_views(model, views) if views > 1 else model), record


def average_views(model: "keras.Model", views: int) -> "keras.Model":
    """A model whose answer is the mean of another's over so many turns and mirrorings of each image."""
    import keras

    images = keras.Input(model.input_shape[1:], dtype="uint8")
    sides = images, keras.ops.flip(images, 2)
    turned = [keras.ops.rot90(side, turns, axes=(1, 2)) for side in sides for turns in range(4)]
    return keras.Model(images, keras.layers.Average()([model(view) for view in turned[:views]]))
