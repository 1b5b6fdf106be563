"""Load the trained networks of a study by name, and check them against their records.

from helpers.models.published import load_model
model, record = load_model("MobileNet, 8 views", study="ham10000_cpu")
probabilities = model.predict(images)          # uint8 [n, side, side, 3] to float32 [n, classes]
"""

from pathlib import Path
from typing import TYPE_CHECKING

from helpers.records import file_sha256, network_of, read_records
from helpers.study import StudyError, results_folder

if TYPE_CHECKING:  # reading a table of results should not have to wait for a backend to load
    import keras


def published_models(study: str, notebook: str = "*") -> dict[str, dict]:
    """Run records of a study's loadable models by name, highest balanced accuracy on validation first.

    Models that do not take part in the comparison, such as one trained on test images, are left out. notebook: read
    only the records of this notebook; by default all are read.
    """
    records = read_records(results_folder(study), compared=True, notebook=notebook)
    records = [record for record in records if record.get("model_sha256") and model_file(record).is_file()]
    records.sort(key=lambda record: -record["validation"]["balanced_accuracy"]["value"])
    return {record["name"]: record for record in records}


def model_file(record: dict) -> Path:
    """The model file of a record. A variant with several views uses the file of its notebook."""
    return network_of(record)[0] / "model.keras"


def load_model(name: str, study: str = "ham10000", notebook: str = "*") -> tuple["keras.Model", dict]:
    """A published model, such as `CNN` or `MobileNet`, and its run record. notebook: see `published_models`.

    A model with several views, such as `MobileNet, 8 views`, averages over rotations and reflections of each image. To
    calibrate probabilities, divide their logarithms by the record's `temperature`; its `threshold` is for malignancy.
    Raises StudyError if there is no such model, or if the file has changed since it was evaluated.
    """
    known = published_models(study, notebook)
    if name not in known:
        raise StudyError(f"{results_folder(study)}: no model {name!r}. Available models: {', '.join(known) or 'none'}.")
    record = known[name]
    model, (_, views) = load_network(record), network_of(record)
    return (average_views(model, views) if views > 1 else model), record


def load_network(record: dict) -> "keras.Model":
    """The network behind a record, for one view of each image. Raises StudyError if its file has changed."""
    import keras

    import helpers.models.networks  # noqa: F401, registers the layers of saved models

    file = model_file(record)
    if (found := file_sha256(file)) != record.get("model_sha256"):
        raise StudyError(
            f"{file}: SHA-256 {found} is not the {record.get('model_sha256')} of its metrics.json. Restore the file "
            f"(`git checkout`), or run {record['notebook']} again."
        )
    saved = keras.saving.load_model(file, safe_mode=True)
    # The model as loaded would return a list when called.
    return keras.Model(saved.inputs[0], saved.outputs[0], name=saved.name)


def average_views(model: "keras.Model", views: int) -> "keras.Model":
    """A model that averages the predictions of `model` over `views` rotations and reflections of each image."""
    import keras

    images = keras.Input(model.input_shape[1:], dtype="uint8")
    sides = images, keras.ops.flip(images, 2)
    turned = [keras.ops.rot90(side, turns, axes=(1, 2)) for side in sides for turns in range(4)]
    return keras.Model(images, keras.layers.Average()([model(view) for view in turned[:views]]))
