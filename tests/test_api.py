import pytest

pytestmark = pytest.mark.django_db(transaction=True)


def test_journey(user, log_in, statements):
    with statements() as s:
        a = log_in(user)
    assert len(s) == 2, s
    b = log_in(user)
    with statements() as s:
        assert a.me().status_code == 200
    assert len(s) == 1, s
    with statements() as s:
        r = a.refresh()
    assert r.status_code == 200, r.json()
    assert len(s) == 2, s
    with statements() as s:
        r2 = a.refresh()
    assert r2.status_code == 200
    with statements() as s:
        r = a.logout()
    assert len(s) == 3, s
    assert r.status_code == 204
    with statements() as s:
        r = a.logout()
    assert r.status_code == 204
    assert len(s) == 3, s
    assert a.me().status_code == 401
    assert b.me().status_code == 200
    assert b.refresh().status_code == 200
