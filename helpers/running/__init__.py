"""Runs notebooks, jobs and searches, and reports their results."""

import sys

# With this package, jsonschema compiles a grammar of addresses for over a second, whenever a notebook is read first.
sys.modules.setdefault("rfc3987_syntax", None)
