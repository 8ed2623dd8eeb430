"""Colour for black-and-white photographs, scans, films and live cameras, on small machines.

colorizer = edgecolor.load()
rgb = colorizer(gray)
"""

from edgecolor._camera import Camera, camera
from edgecolor._capture import Frame
from edgecolor._colorizer import Colorization, Colorizer, load
from edgecolor._errors import (
    EdgecolorError,
    EngineBuildError,
    EngineUnavailableError,
    ImageError,
    ModelIntegrityError,
    SourceError,
    UnknownModelError,
)
from edgecolor._hints import Hint

__version__ = "0.1.0"

__all__ = [
    "Camera",
    "Colorization",
    "Colorizer",
    "EdgecolorError",
    "EngineBuildError",
    "EngineUnavailableError",
    "Frame",
    "Hint",
    "ImageError",
    "ModelIntegrityError",
    "SourceError",
    "UnknownModelError",
    "camera",
    "load",
]
