"""``python -m transfer_utils`` runs the command line without the console script on the path."""

import sys

from transfer_utils.cli.main import main

sys.exit(main())
