"""FHIR bundles as transactions, which a server takes as a whole or not at all."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from clinic.reading.place import Place
from clinic.writing.fhir import is_named, validate
from helpers.study import StudyError


@dataclass(frozen=True)
class Server:
    """How a FHIR server knows what a transaction refers to: the systems (URI) of its patient and order numbers.

    orders: of accession numbers; without it, a report names its order by the accession number alone.
    """

    patients: str
    orders: str = ""


def transaction(content: Mapping, place: Place, server: Server) -> dict:
    """A bundle of `bundle` as a transaction for a server that has the patient.

    The patient, and the order if its system is known, are found by their numbers: each has to exist there once. The
    device and the study are created unless they exist. All else takes the place of what was sent earlier about the same
    image by the same deployment. Raises StudyError without a patient number.
    """
    if not is_named(place) or not place.patient_id:
        raise StudyError("no FHIR transaction, since the file names no patient")
    (patient,) = (one for one in content["entry"] if one["resource"]["resourceType"] == "Patient")
    found = json.dumps(f"Patient?identifier={_token(server.patients, place.patient_id)}")
    text = json.dumps({**content, "type": "transaction"}).replace(json.dumps(patient["fullUrl"]), found)
    sent = json.loads(text)
    sent["entry"] = [
        one | {"request": _request(one["resource"])}
        for one in sent["entry"]
        if one["resource"]["resourceType"] != "Patient"
    ]
    if server.orders and place.accession_number:
        order = f"ServiceRequest?identifier={_token(server.orders, place.accession_number)}"
        sent["entry"][0]["resource"]["basedOn"] = [{"reference": order}]
    return validate(sent)


def _request(resource: Mapping) -> dict:
    """How a server takes a resource: created unless it is there, or in place of the earlier one."""
    kind, number = resource["resourceType"], resource["identifier"][0]
    which = f"identifier={_token(number['system'], number['value'])}"
    if kind in ("Device", "ImagingStudy"):
        return {"method": "POST", "url": kind, "ifNoneExist": which}
    return {"method": "PUT", "url": f"{kind}?{which}"}


def _token(system: str, value: str) -> str:
    """A number in its system, as a FHIR search writes it."""
    return f"{quote(system, safe='')}|{quote(value, safe='')}"
