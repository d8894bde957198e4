"""What the app tells others. Receivers' errors are logged and change nothing."""

from django.dispatch import Signal

# sender=CleanupRun, report=the CleanupReport, using=the alias of the database
cleanup_finished = Signal()
cleanup_failed = Signal()
