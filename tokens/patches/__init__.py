"""Patches of other packages: they give our answers, whoever uses them and whenever they did.

``install`` patches simplejwt. ``after_import`` is for the glue in ``contrib``.
"""

from .hook import after_import
from .simplejwt import install

__all__ = ["after_import", "install"]
