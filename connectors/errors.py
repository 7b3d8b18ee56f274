"""What can go wrong at the edges.

ConnectorError
    RetryableError   the world is away or slow: back off, try again, then crash and resume
      UnstorableError  it is the value: who can do without it goes on
    FatalError       trying again cannot help: wrong credentials, missing topic, lost offsets
"""

from __future__ import annotations


class ConnectorError(Exception):
    """Anything a connector could not do."""


class RetryableError(ConnectorError):
    """The other side is away or slow; the same call may succeed later."""


class UnstorableError(RetryableError):
    """What was to be written is refused for what it is; without it the rest may be taken."""


class FatalError(ConnectorError):
    """The same call cannot succeed; a person or a configuration change is needed."""
