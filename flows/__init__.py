"""Dataflows: each file joins the pure core with connectors and can be read aloud."""
