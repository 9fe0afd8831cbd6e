"""The arithmetic: one folder an operation, its readable formula in `reference.py`.

Each folder's `__init__.py` chooses a path by the tensor it is given; every path is tested against
`reference.py`, forward and gradient.
"""
