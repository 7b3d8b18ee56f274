"""Exports and erasures of visitors, deletion of projects: asked for by calls, done by a process."""
