from streamlit.testing.v1 import AppTest


def page(script):
    return AppTest.from_string(f"import streamlit as st\nfrom transfer_utils.dashboard import state\n{script}")


def test_each_chosen_run_is_in_the_address_once():
    app = page("state.choose(['b', 'a', 'b'])\nst.text(state.chosen())").run()
    assert app.query_params == {"chosen": ["b", "a"]}
    assert app.text[0].value == "['b', 'a']"


def test_a_hidden_run_is_no_longer_chosen():
    app = page("state.hide(['a'])")
    app.query_params.update({"chosen": ["a", "b"], "hidden": ["z"], "other": "kept"})
    app.run()
    assert app.query_params == {"chosen": "b", "hidden": ["z", "a"], "other": "kept"}


def test_showing_all_runs_clears_the_address():
    app = page("state.show_all()\nstate.choose([])")
    app.query_params["hidden"] = ["a", "b"]
    app.run()
    assert app.query_params == {}
