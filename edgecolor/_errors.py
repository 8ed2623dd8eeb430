"""What can go wrong, as a tree.

    EdgecolorError
    ├── ImageError(ValueError)               a picture, hint or option that cannot be used
    ├── UnknownModelError(ValueError)        a model or precision that does not exist
    ├── ModelIntegrityError(OSError)         a model file that is missing or not the one that was published
    ├── EngineUnavailableError(ImportError)  an engine that is not installed, or has no device to run on
    ├── EngineBuildError(RuntimeError)       an engine that could not be made from its model
    └── SourceError(OSError)                 a file or camera that cannot be opened, read or written

Each also is the standard error that a caller would have caught anyway.
"""

from __future__ import annotations


class EdgecolorError(Exception):
    """Base of everything edgecolor raises on purpose."""

    def __str__(self) -> str:
        """The message, also where the standard error would print something of its own."""
        return str(self.args[0]) if self.args else type(self).__name__


class ImageError(EdgecolorError, ValueError):
    """A picture, hint or option that cannot be used."""


class UnknownModelError(EdgecolorError, ValueError):
    """A model or precision that does not exist."""


class ModelIntegrityError(EdgecolorError, OSError):
    """A model file that is missing or not the one that was published."""


class EngineUnavailableError(EdgecolorError, ImportError):
    """An engine that is not installed, or has no device to run on."""


class EngineBuildError(EdgecolorError, RuntimeError):
    """An engine that could not be made from its model."""


class SourceError(EdgecolorError, OSError):
    """A file or camera that cannot be opened, read or written."""
