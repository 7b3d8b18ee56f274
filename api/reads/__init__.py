"""What can be read of a project: one module of handlers a subject, with models beside it."""
