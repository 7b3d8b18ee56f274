"""Names of the data folder and of what the commands leave in it."""

from __future__ import annotations

from pathlib import Path

DEFAULT_DATA = Path(".gosight")
ENVIRONMENT_FILE = "environment.json"  # Addresses of the servers, while they run.
PROJECT_FILE = "project.json"  # The first project and its keys.
PORTS_FILE = "ports.json"  # Ports of our own processes.
SIGNING_FILE = "login-secret"  # What signs the tokens of logins.
