"""General helpers: safe files, cached arrays, progress, machine, colours and text."""
