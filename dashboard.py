"""Compare runs in the browser: ``streamlit run dashboard.py -- --runs runs``, or ``transfer-utils dashboard``."""

from transfer_utils.dashboard.app import main

main()
