"""The Streamlit dashboard over a folder of run records. Everything but the page "Try it" works without TensorFlow."""
