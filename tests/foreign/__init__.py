"""The suites of simplejwt and dj-rest-auth, and our tests of packages that we don't require.

``make test-foreign`` runs them: ``__main__`` does the work, ``differences`` has what may fail.
"""
