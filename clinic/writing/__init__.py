"""Answers as tables, pages, DICOM and FHIR."""
