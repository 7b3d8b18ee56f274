"""The door: takes batches by HTTP, gRPC-Web and gRPC, and answers after Kafka's acknowledgement."""

import os

# gRPC's core writes the addresses of clients and texts that they chose to standard error, past our
# log. It reads this once, when it is loaded, so it is set before anything here imports it.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
