"""How each framework's users call the loss: one module per framework, with the same names in each.

A framework is imported only by `load`, so that one that is absent can be reported with how to add it.
"""

from __future__ import annotations

from ._load import FRAMEWORKS, Absent, load
from ._subject import BoundSubject
from ._variant import DTYPES, Form, Task, Toolkit, Variant

__all__ = ["DTYPES", "FRAMEWORKS", "Absent", "BoundSubject", "Form", "Task", "Toolkit", "Variant", "load"]
