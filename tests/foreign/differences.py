"""The tests of other packages that fail with our app, and why.

Each name is that of a module in the suite, a class and a test.
"""

_KEYS = "fails without our app, too: PyJWT is newer, and stricter about keys, than simplejwt 5.5.1"
_NO_ROWS = "we store no token: it counts or reads rows of simplejwt's tables"
_ENDED = "the change to the user has ended the session, so the token is refused as revoked"

PYJWT = {
    f"test_backends.TestTokenBackend.{name}": _KEYS
    for name in (
        "test_decode_success",
        "test_decode_with_expiry",
        "test_decode_with_invalid_sig",
        "test_decode_with_invalid_sig_no_verify",
        "test_decode_with_no_expiry",
        "test_decode_with_no_expiry_no_verify",
    )
}

SIMPLEJWT = {
    f"test_token_blacklist.{name}": _NO_ROWS
    for name in (
        "TestTokenBlacklist.test_outstanding_token_and_blacklisted_token_created_at",
        "TestTokenBlacklist.test_outstanding_token_and_blacklisted_token_created_at_with_modified_user_id_field",
        "TestTokenBlacklist.test_outstanding_token_and_blacklisted_token_user",
        "TestTokenBlacklist.test_outstanding_token_and_blacklisted_token_user_with_modifed_user_id_field",
        "TestTokenBlacklist.test_outstanding_token_with_deleted_user_and_modifed_user_id_field",
        "TestTokenBlacklist.test_refresh_tokens_are_added_to_outstanding_list",
        "TestTokenBlacklist.test_sliding_tokens_are_added_to_outstanding_list",
        "TestTokenBlacklist.test_token_will_not_validate_if_blacklisted",
        "TestTokenBlacklist.test_tokens_can_be_manually_blacklisted",
        "TestTokenBlacklistFlushExpiredTokens.test_it_should_delete_any_expired_tokens",
        "TestTokenBlacklistFlushExpiredTokens.test_token_blacklist_will_not_be_removed_on_User_delete",
    )
}
SIMPLEJWT |= {
    f"test_serializers.{name}": _NO_ROWS
    for name in (
        "TestTokenBlacklistSerializer.test_it_should_blacklist_refresh_token_if_everything_ok",
        "TestTokenRefreshSerializer.test_it_should_blacklist_refresh_token_if_tokens_should_be_rotated_and_blacklisted",
    )
}
SIMPLEJWT |= {
    "test_serializers.TestTokenRefreshSerializer.test_it_should_raise_error_for_deleted_users": _ENDED
    + " (simplejwt: DoesNotExist, which is an answer 500)",
    "test_serializers.TestTokenRefreshSerializer.test_it_should_raise_error_for_inactive_users": _ENDED,
    "test_token_blacklist.TokenVerifySerializerShouldHonourBlacklist"
    ".test_token_verify_serializer_should_honour_blacklist_if_blacklisting_enabled": (
        "a revoked token raises TokenError, which the view answers with 401; simplejwt's is 400"
    ),
    "test_token_blacklist.TokenVerifySerializerShouldHonourBlacklist"
    ".test_token_verify_serializer_should_not_honour_blacklist_if_blacklisting_not_enabled": (
        "a revoked token is refused, whatever BLACKLIST_AFTER_ROTATION says"
    ),
    "test_tokens.TestRefreshToken.test_access_token": (
        "an access token without a session is as old as its refresh token, so that what refuses"
        " the one refuses the other"
    ),
}

DJ_REST_AUTH = {
    "test_api.APIBasicTests.test_blacklisting_not_installed": (
        "the request carries no token, so nothing is revoked: 401, where dj-rest-auth answers 200"
        " and tells the client to forget the token"
    ),
    "test_api.APIBasicTests.test_rotate_token_refresh_view": (
        "it switches rotation on in simplejwt's settings object; we read Django's settings"
    ),
}
