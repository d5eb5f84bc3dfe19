"""One pipeline for every HTTP dialect: routes, caller, body, conditions, error document, metrics, CORS.

A dialect gives its routes and how it parses and renders (`routes.py`); `application.py` does everything else. Nothing
here knows a dialect.
"""
