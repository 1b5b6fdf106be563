"""The only place where the node asks the clinic's program: from DICOM files to structured reports."""

import io
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

from clinic.answering.deployment import Deployment
from clinic.answering.network import Predict
from clinic.answering.prediction import Outcome, answer_files
from clinic.reading.decoder import THREADS
from clinic.reading.files import InputFile
from clinic.reading.place import Place
from clinic.reading.reader import Reader
from clinic.writing.datasets import strict_values
from clinic.writing.structured import report
from helpers.study import StudyError


@dataclass
class Reports:
    """Structured reports about DICOM files by the model of a deployment, in a `with` block.

    Its decoders are started once, so that a single image does not wait for one.
    """

    deployment: Deployment
    predict: Predict
    _open: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> "Reports":
        self._reader = self._open.enter_context(Reader(self.deployment.image_format()))
        self._pool = self._open.enter_context(ThreadPoolExecutor(THREADS))
        return self

    def __exit__(self, *_) -> None:
        self._open.close()

    def __call__(self, files: Sequence[Path]) -> Iterator[tuple[Path, bytes, str]]:
        """Each file, in order, with its report as a DICOM file, or with none and the fault."""
        found = [InputFile(number, path) for number, path in enumerate(files, 1)]
        read = self._pool.map(self._reader, found)
        with closing(answer_files(read, self.deployment, self.predict)) as outcomes:
            for outcome in outcomes:
                yield outcome.file.path, *self._report(outcome)

    def _report(self, outcome: Outcome) -> tuple[bytes, str]:
        if outcome.file.fault or outcome.file.place is None:
            return b"", outcome.file.fault or "not a DICOM object"
        file = io.BytesIO()
        try:
            document = report(Place(**outcome.file.place), outcome.answers, self.deployment)
            with strict_values():
                document.save_as(file, enforce_file_format=True)
        except StudyError as error:
            return b"", str(error)
        return file.getvalue(), ""
