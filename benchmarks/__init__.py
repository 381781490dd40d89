"""What is measured for the tables in docs, each in a file of ``benchmarks/results``.

``python -m benchmarks`` compares the speed of plain Keras and of this package, in pairs in one run (``speed``). It also
measures how time and memory grow with the number of images (``growth``), and how well a classifier notices pictures of
other things (``not_sure``). ``python -m benchmarks.dashboard`` measures how long a reader of the dashboard waits.
"""
