"""dj-rest-auth over our tokens: its cookies, login, logout, refresh and registration.

Add ``tokens.contrib.dj_rest_auth`` to INSTALLED_APPS. Its views, serializers and URLs stay.
"""
