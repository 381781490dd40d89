"""The pages of the dashboard, one module each; every one has a function ``draw(view)``."""
