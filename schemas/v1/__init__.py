"""Protobuf messages of package `gosight`; `make proto` regenerates the *_pb2 files."""
