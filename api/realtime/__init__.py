"""The live WebSocket of a project."""
