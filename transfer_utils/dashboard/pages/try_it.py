"""The page "Try it": the prediction of a saved model for one image, with Grad-CAM."""

from __future__ import annotations

import streamlit as st

from transfer_utils.dashboard import state
from transfer_utils.dashboard.answers import model_file, show_answer
from transfer_utils.dashboard.store import View
from transfer_utils.utils.text import as_text

FIRST_COMMAND = "transfer-utils train --preset offline"


def draw(view: View) -> None:
    """Draw the page."""
    models = {row.name: (row, path) for row in view.rows if (path := model_file(row))}
    if not models:
        with st.container(border=True):
            st.subheader("No saved model here")
            finished = sum(row.status == "completed" for row in view.rows)
            if finished:
                none = "The finished run has no" if finished == 1 else f"None of the {finished} finished runs has a"
                st.markdown(f"{none} saved model in its folder.")
            st.markdown("A run saves its model in its folder when it finishes. To make one:")
            st.code(FIRST_COMMAND, language=None)
        return
    left, right = st.columns(2, gap="medium")
    name = left.selectbox("Model", list(models), **state.kept("model", next(iter(models)), models))
    upload = right.file_uploader("Image", key="image")
    if upload is None:
        st.caption("Upload an image of one of the classes of the model:")
        labels = models[name][0].record.class_names[:100]
        st.text(", ".join(as_text(label, 40) for label in labels) or "class names not recorded")
        return
    show_answer(*models[name], upload.getvalue())
