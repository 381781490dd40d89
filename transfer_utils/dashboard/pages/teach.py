"""The page "Teach": make a classifier from pictures, without code.

Pictures are collected (``teach_pictures``); a command measures and trains in the background (``jobs``); then the result
is shown, tried and downloaded (``teach_results``). What is trained is an ordinary run in the folder of the dashboard.
"""

from __future__ import annotations

import re
from contextlib import suppress

import streamlit as st

from transfer_utils.dashboard import jobs, state, teach_pictures, teach_results
from transfer_utils.dashboard.store import View
from transfer_utils.errors import UserError
from transfer_utils.results.progress import describe_progress, progress, silence
from transfer_utils.results.table import Row
from transfer_utils.teach.collection import FOLDER, MAX_CLASS_NAME, Collection, collections, create_collection
from transfer_utils.teach.messages import Step, read_model
from transfer_utils.utils.disk import as_sentence
from transfer_utils.utils.text import as_text

CLASSIFIER, NETWORK = "classifier", "network"  # parameters of the address
MEASURE, FINE_TUNE = "measure", "fine-tune"  # kinds of jobs
REFRESH_SECONDS = 1
COMMAS = re.compile(r"[,\u060c\uff0c\u3001]")  # also those of Arabic, Chinese and Japanese keyboards
MISSING_WEIGHTS = "ImageNet weights"  # words in the message if they are unavailable
# The pretrained networks to start from, with what each has learned from.
NETWORKS = {
    "photographs": "MobileNetV2, pretrained on ImageNet: 1.3 million photographs of a thousand kinds of things.",
    "letters": "The network that ships with the package and needs no download. It has only seen letters drawn over "
    "photographs: it tells colours, strokes and simple shapes apart, but knows no animals, faces or things. Expect "
    "many more mistakes than with the network that knows photographs.",
}
LETTERS_OPTIONS = ("--weights", "letters", "--image_size", "64")


def draw(view: View) -> None:
    """Draw the page."""
    collection = _choose(view)
    if collection is None:
        return
    owner = str(collection.folder)
    job = jobs.running(owner)
    teach_pictures.draw(collection, busy=job is not None)
    rows = teach_results.runs_of(collection, view)
    st.subheader("Train")
    _draw_training(collection, view, job)
    if job:
        _follow(collection, owner, rows)
    teach_results.draw(collection, rows, busy=job is not None)


def _choose(view: View) -> Collection | None:
    """Draw the choice of a classifier, and the form for a new one; return the one that is chosen."""
    names = collections(view.folder)
    if not names:
        with st.container(border=True):
            st.subheader("Teach a classifier your own pictures")
            st.markdown(
                "Collect some pictures of each kind, by upload or with the camera; a pretrained network learns to tell "
                "them apart, and you see how often it will be right. Pictures stay on this machine."
            )
            _draw_new(view)
        return None
    left, right = st.columns([4, 1], vertical_alignment="bottom")
    if not set(state.values(CLASSIFIER)) & set(names):
        state.put({CLASSIFIER: names[0]})  # so that another one that changes does not take its place
    name = left.selectbox("Classifier", names, **state.kept(CLASSIFIER, "", names))
    with right.popover("New", icon=":material/add:", width="stretch"):
        _draw_new(view)
    return Collection(view.folder / FOLDER / name)


def _draw_new(view: View) -> None:
    with st.form("new classifier", border=False):
        name = st.text_input("Name of the classifier", max_chars=MAX_CLASS_NAME, placeholder="kitchen", key="new name")
        classes = st.text_input(
            "Its classes, with commas between them",
            placeholder="cup, plate",
            help="Two to ten. More can be added later; leave it empty to upload a zip file with a folder for each.",
            key="new classes",
        )
        if not st.form_submit_button("Create", type="primary"):
            return
    try:
        collection = create_collection(view.folder, name, filter(str.strip, COMMAS.split(classes)))
    except (UserError, OSError) as error:
        st.warning("It could not be created:", icon=":material/block:")
        st.text(as_text(as_sentence(error), 400))
        return
    state.put({CLASSIFIER: collection.folder.name})
    st.rerun()


def _draw_training(collection: Collection, view: View, job: jobs.BackgroundJob | None) -> None:
    owner = str(collection.folder)
    network = state.choice(st, "What the network has seen before", list(NETWORKS), NETWORK, disabled=job is not None)
    if network == "letters":
        st.warning(NETWORKS[network], icon=":material/school:")
    else:
        st.caption(NETWORKS[network])
    missing = collection.missing()
    with st.container(horizontal=True, vertical_alignment="center"):
        off = bool(missing) or job is not None
        train = st.button(
            "Train", type="primary", icon=":material/bolt:", disabled=off, help="Solves the head; seconds"
        )
        tune = st.button("Fine-tune", icon=":material/tune:", disabled=off, help="Trains the last layers too; minutes")
        if job and st.button("Stop", icon=":material/stop:", disabled=job.stopping):
            jobs.stop(owner)
            st.rerun()
    if missing:
        st.text(missing)
    if train or tune:
        kind = MEASURE if train else FINE_TUNE
        with suppress(OSError):  # of a command that was killed
            collection.step.unlink()
        jobs.start(owner, kind, arguments(collection, view, network, kind))
        st.rerun()
    if not job:
        _draw_end(jobs.ended(owner), network)


def arguments(collection: Collection, view: View, network: str, kind: str) -> list[str]:
    """Return the command line of a job, without the program."""
    words = ["teach", "--n_unfreeze", "0"] if kind == MEASURE else ["train"]
    words += ["--dataset", "folder", "--data_dir", str(collection.folder), "--output_dir", str(view.folder)]
    words += ["--model_path", "none", "--export", "float32"]
    return [*words, *LETTERS_OPTIONS] if network == "letters" else words


def _draw_end(job: jobs.BackgroundJob | None, network: str) -> None:
    """Say how the last job ended, unless it was completed."""
    if job is None or job.status == 0:
        return
    if job.stopping:
        text = "Stopped. Fine-tune again to resume from the last epoch." if job.kind == FINE_TUNE else "Stopped."
        st.info(text, icon=":material/stop_circle:")
        return
    st.error("This did not work:", icon=":material/error:")
    st.text(as_text(job.message.removeprefix("Error: ") or f"The command ended with status {job.status}.", 1000))
    if MISSING_WEIGHTS in job.message and network != "letters":
        st.button("Use the network that ships with the package", on_click=state.put, args=({NETWORK: "letters"},))
        st.caption(NETWORKS["letters"])


@st.fragment(run_every=REFRESH_SECONDS)
def _follow(collection: Collection, owner: str, rows: list[Row]) -> None:
    """Show how far the running job has come, and draw the page again when it has ended."""
    job = jobs.running(owner)
    if job is None:
        st.rerun()
    if job.stopping:
        st.progress(1.0, "Stopping …")
        return
    row = next((row for row in rows if row.status == "running"), None)
    if job.kind == FINE_TUNE and row:
        done = progress(row)
        st.progress(done.epoch / max(done.planned, 1), "Fine-tuning" if done.epoch else "Running the frozen layers …")
        st.text(f"{describe_progress(row)} · {silence(row)}")
        return
    step = read_model(collection.step, Step) or Step(title="Starting", done=0, total=1)
    st.progress(min(step.done / max(step.total, 1), 1.0), as_text(step.title))
