"""``python -m transfer_utils``: the command line where the console script is not on the path."""

import sys

from transfer_utils.cli.main import main

sys.exit(main())
