"""Answers to `cooled`, an exercise of the tests' own chapter."""


def right_power(start, rate, steps):
    return start * (1 - rate) ** steps


def right_loop(start, rate, steps):
    while steps > 0:
        start, steps = (1 - rate) * start, steps - 1
    return start


def wrong_nothing_returned(start, rate, steps):
    for _ in range(steps):
        start = start - rate * start


def wrong_share_of_the_start(start, rate, steps):
    warmth = start
    for _ in range(steps):
        warmth = warmth - rate * start
    return warmth


def wrong_warmed(start, rate, steps):
    for _ in range(steps):
        start = start + rate * start
    return start


def wrong_property_fails(start, rate, steps):
    # Right for the short cases, and gives up before the long one is over.
    return start * (1 - rate) ** min(steps, 100)
