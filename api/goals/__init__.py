"""Goals and funnels over HTTP: what counts as a success, and how many get there."""
