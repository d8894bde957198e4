"""Revocation for the JSON Web Tokens of djangorestframework-simplejwt."""

__version__ = "0.1.0"
