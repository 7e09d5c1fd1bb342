"""Backends: models of one format each, behind the interfaces of the core; `loading` puts a run's models together."""
