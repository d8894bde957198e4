"""Clients that generators make of the schema, in the demo project and in one that is not ours.

``make test-clients`` runs them: ``__main__`` installs the generators.
"""
