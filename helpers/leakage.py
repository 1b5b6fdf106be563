"""Points to the new name of a command: `python -m helpers.evaluation.audit`."""

import sys

if __name__ == "__main__":
    print("This command is now `python -m helpers.evaluation.audit`, with the same arguments.", file=sys.stderr)
    sys.exit(2)
