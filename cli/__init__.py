"""The `gosight` command: everything a person operates, from one machine to single processes."""
