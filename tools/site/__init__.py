"""The course as a site: its pages put together (``stage``), built by Sphinx, and checked (``check``, ``look``)."""
