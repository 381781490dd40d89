"""How numbers are written: one way for the terminal, the tables and the article."""

from transfer_utils.wording import duration


def test_durations_are_told_as_people_say_them():
    told = [duration(seconds) for seconds in (0.4, 99, 100, 5399, 5400)]
    assert told == ["0 s", "99 s", "2 minutes", "90 minutes", "1.5 hours"]
