"""`python -m tests.fuzz.guided READER [libFuzzer options]`: coverage-guided, in this process.

Needs Atheris, which is no dependency of ours: `pip install atheris` beside the development
requirements. READER is a name in `readers.READERS`. Any exception but a refusal ends the run with a
file of the bytes. `-max_total_time=600 -seed=1` bounds a run.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path


def main() -> None:
    """Fuzz until the time given is over or something is found."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["ingest_gateway", "schemas"]):
        readers = importlib.import_module("tests.fuzz.readers")
    refused = importlib.import_module("ingest_gateway.errors").RefusedError
    read = readers.READERS[sys.argv[1]]

    def one(data: bytes) -> None:
        try:
            read(data)
        except refused:
            return

    with tempfile.TemporaryDirectory(prefix="gosight-corpus-") as folder:
        readers.write_corpus(Path(folder))
        atheris.Setup([sys.argv[0], *sys.argv[2:], folder], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
