"""The Streamlit dashboard for a folder of run records. Only a saved model that is asked needs TensorFlow."""
