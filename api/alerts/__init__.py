"""Alert rules over HTTP: what fires, who is told, and what became of it."""
