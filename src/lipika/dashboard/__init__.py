"""The board: what the fleet does, in a browser. Starlette, Jinja2 and htmx over `db.stats`; no SQL, no build step.

`app.create_app` gives the ASGI application, `serve.serve` runs it.
"""
