"""Points to the new name of a command: `python -m clinic`."""

import sys

if __name__ == "__main__":
    print("This command is now `python -m clinic`, with the same arguments.", file=sys.stderr)
    sys.exit(2)
