"""Measurements against simplejwt's own blacklist: ``python -m benchmarks --help``.

What is measured runs in processes of its own (``inside``), each on a database that is made for
it and dropped afterwards.
"""
