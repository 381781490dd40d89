"""The Streamlit dashboard for a folder of run records. Only the page "Try it" needs TensorFlow."""
