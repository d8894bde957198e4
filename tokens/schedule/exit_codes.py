"""How the commands end. Schedulers act on these numbers, so they never change."""

FAILED, USAGE, ROWS_LEFT = 1, 2, 3
