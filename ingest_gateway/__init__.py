"""The door: takes batches by HTTP, gRPC-Web and gRPC, and answers after Kafka's acknowledgement."""
