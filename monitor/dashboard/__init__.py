"""The page that the monitor serves at ``/``: static files, no build step."""
