"""The results as pages for a browser: one self-contained file of some runs, or a folder of pages for a web server.

`cells.py` turns a run document into what the views draw, `method.py` into the page's prose, `footprints.py` takes from
audits what its runners are made of, `history.py` finds the steps between runs, `assets.py` has the scripts and styles,
`page.py` and `site.py` put them together. The views themselves are the JavaScript in `static/`, one file a view.
"""
