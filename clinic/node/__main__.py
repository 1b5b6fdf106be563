"""Points to the new name of a command: `python -m clinic serve`."""

import sys

if __name__ == "__main__":
    print("This command is now `python -m clinic serve`, with the same arguments.", file=sys.stderr)
    sys.exit(2)
