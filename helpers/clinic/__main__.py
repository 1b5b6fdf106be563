"""`python -m helpers.clinic`, see `command`."""

import sys

from helpers.clinic.command import main

if __name__ == "__main__":
    sys.exit(main())
