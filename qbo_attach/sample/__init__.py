"""A seeded synthetic company: a legacy tree, its mapping, and the result expected of each file.

Files are real in their format, awkward cases are listed in `awkward`, and every result is known
from how the file was made, never from the code that it is to test.
"""

from qbo_attach.sample.build import Sample, make_sample
from qbo_attach.sample.expected import EXPECTED, ExpectedRow, compare, read_expected

__all__ = ["EXPECTED", "ExpectedRow", "Sample", "compare", "make_sample", "read_expected"]
