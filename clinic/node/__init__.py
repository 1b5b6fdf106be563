"""A DICOM node: photographs come in from an archive, and structured reports go back to one.

An image counts as accepted when it is on disk. It stays there until its report is, and the report until the destination
has it. So a crash or an unreachable destination loses nothing. The log holds numbers and faults, and no patient data.
"""
