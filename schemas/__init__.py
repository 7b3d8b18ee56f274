"""The single source of truth for data: wire messages, topics, records, reasons, validation.

Imports nothing else of this project.
"""
