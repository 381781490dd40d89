"""The command line: ``main`` runs it."""

from transfer_utils.cli.main import cli, main

__all__ = ["cli", "main"]
