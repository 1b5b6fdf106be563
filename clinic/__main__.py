"""`python -m clinic`, see `command`."""

import sys

from clinic.command import main

if __name__ == "__main__":
    sys.exit(main())
