from types import SimpleNamespace

from streamlit.testing.v1 import AppTest

from transfer_utils.dashboard import state


def page(script):
    return AppTest.from_string(
        f"import streamlit as st\nfrom transfer_utils.dashboard import state\n{script}", default_timeout=60
    )


def test_each_chosen_run_is_in_the_address_once():
    app = page("state.put({state.CHOSEN: ['b', 'a', 'b']})\nst.text(state.values(state.CHOSEN))").run()
    assert app.query_params == {"chosen": ["b", "a"]}
    assert app.text[0].value == "['b', 'a']"


def test_a_hidden_run_is_no_longer_chosen():
    app = page("state.hide(['a'])")
    app.query_params.update({"chosen": ["a", "b"], "hidden": ["z"], "other": "kept"})
    app.run()
    assert app.query_params == {"chosen": "b", "hidden": ["z", "a"], "other": "kept"}


def test_an_empty_value_removes_its_parameter():
    app = page("state.put({'hidden': [], 'chosen': []})")
    app.query_params["hidden"] = ["a", "b"]
    app.run()
    assert app.query_params == {}


def test_each_change_is_one_step_although_several_parameters_change():
    app = page("""
from streamlit.runtime.state.query_params import QueryParams
sent, send = [], QueryParams._send_query_param_msg
QueryParams._send_query_param_msg = lambda params: sent.append(1) or send(params)
state.hide(["a"])
state.put({"chosen": ["b"], "run": "r"})
state.put({"run": "r"})
st.text(len(sent))
QueryParams._send_query_param_msg = send
""")
    app.query_params.update({"chosen": ["a", "b"]})
    assert app.run().text[0].value == "2" and app.query_params == {"chosen": "b", "hidden": "a", "run": "r"}


WIDGETS = """
state.follow_address()
st.text_input("Text", **state.kept("text"))
st.selectbox("One", ["a", "b"], **state.kept("one", "a", ["a", "b"]))
st.multiselect("Several", ["a", "b"], **state.kept("several", [], ["a", "b"]))
state.choice(st, "Pressed", ["x", "y"], "pressed")
st.tabs(["t", "u"], **state.kept("tab", "t", ["t", "u"]))
"""


def test_widgets_start_from_the_address_and_ignore_what_they_do_not_offer():
    app = page(WIDGETS)
    app.query_params.update({"text": "hello", "one": "b", "several": ["b", "z"], "pressed": "z"})
    app.run()
    assert not app.exception
    shown = (app.text_input[0].value, app.selectbox[0].value, app.multiselect[0].value, app.segmented_control[0].value)
    assert shown == ("hello", "b", ["b"], "x")


def test_a_change_of_a_widget_is_written_into_the_address_and_the_default_is_not():
    app = page(WIDGETS)
    app.query_params["other"] = "kept"
    app.run()
    app.text_input[0].set_value("hello").run()
    app.selectbox[0].set_value("b").run()
    app.multiselect[0].set_value(["b", "a"]).run()
    app.segmented_control[0].set_value("y").run()
    changed = {"text": "hello", "one": "b", "several": ["b", "a"], "pressed": "y"}
    assert app.query_params == {"other": "kept", **changed}
    app.text_input[0].set_value("").run()
    app.selectbox[0].set_value("a").run()
    app.multiselect[0].set_value([]).run()
    app.segmented_control[0].set_value("x").run()
    assert app.query_params == {"other": "kept"} and not app.exception


def test_a_click_sent_before_the_last_change_reached_the_browser_loses_nothing():
    app = page(WIDGETS).run()
    app.selectbox[0].set_value("b").run()
    app.query_params.clear()  # the browser does not know of it yet
    app.text_input[0].set_value("hello").run()
    assert app.query_params == {"one": "b", "text": "hello"} and app.selectbox[0].value == "b"


def in_context(monkeypatch, **changes):
    """Let the state see a run of the script of this kind."""
    usual = {"fragment_ids_this_run": None, "is_history_navigation": False, "has_script_started": True}
    monkeypatch.setattr(state, "get_script_run_ctx", lambda: SimpleNamespace(**usual | changes))


def test_an_address_to_which_the_reader_goes_back_is_adopted(monkeypatch):
    app = page(WIDGETS).run()
    app.selectbox[0].set_value("b").run()
    app.text_input[0].set_value("hello").run()
    in_context(monkeypatch, is_history_navigation=True)
    app.query_params = {"one": "b"}
    app.run()
    assert (app.selectbox[0].value, app.text_input[0].value) == ("b", "") and app.query_params == {"one": "b"}


def test_widgets_that_the_browser_showed_before_a_step_back_do_not_undo_it(monkeypatch):
    app = page(WIDGETS).run()
    app.selectbox[0].set_value("b").run()
    in_context(monkeypatch, is_history_navigation=True, has_script_started=False)
    app.query_params = {}
    assert app.run().selectbox[0].value == "a"
    app.query_params = {"text": "hello"}  # the second of two quick steps, sent while the browser still shows "b"
    app.selectbox[0].set_value("b").run()
    assert app.query_params == {"text": "hello"}
    assert (app.selectbox[0].value, app.text_input[0].value) == ("a", "hello")


def test_the_timer_of_a_fragment_undoes_no_change(monkeypatch):
    app = page(WIDGETS).run()
    app.selectbox[0].set_value("b").run()
    in_context(monkeypatch, fragment_ids_this_run=["a"])
    app.selectbox[0].set_value("a").run()
    assert app.query_params == {"one": "b"}
    in_context(monkeypatch)
    assert app.run().selectbox[0].value == "b" and app.query_params == {"one": "b"}
