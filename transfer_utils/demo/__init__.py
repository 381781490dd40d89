"""A trained classifier as a web page that runs in the visitor's browser."""

from transfer_utils.demo.page import write_demo

__all__ = ["write_demo"]
