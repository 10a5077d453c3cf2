"""The lab: a training to be looked at, on a live page, in a notebook, or as one HTML file.

    views.py     what the views show of one moment of a training: arrays, by name
    choices.py   what can be chosen on the page
    session.py   a training that is watched while it goes on, and the same setting on other seeds
    hunting.py   the bug hunt, as the page asks for it
    server.py    the live page: this machine alone, behind a token
    page.py      the page itself: one HTML file, live or with all its moments inside
    static/      its modules: plain JavaScript with types in comments, without a build

The page draws; every number on it is computed here, from `bptt.trace`, in float64.
"""
