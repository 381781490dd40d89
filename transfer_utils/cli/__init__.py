"""The command line; ``main`` runs it."""

from transfer_utils.cli.commands import cli
from transfer_utils.cli.main import main

__all__ = ["cli", "main"]
