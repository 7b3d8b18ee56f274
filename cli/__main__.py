"""`python -m cli` is `gosight`."""

from __future__ import annotations

from cli.main import app

if __name__ == "__main__":
    app(prog_name="gosight")
