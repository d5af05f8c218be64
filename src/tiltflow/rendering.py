"""Pictures of a simulator, drawn without a display."""

import importlib
import os
import sys
from ctypes.util import find_library
from importlib.util import find_spec
from typing import Any

import numpy as np
from jaxtyping import UInt8

from tiltflow.errors import UserError

_VARIABLE = "MUJOCO_GL"
_LIBRARIES = {"egl": ("EGL", "libegl1 libgl1-mesa-dri"), "osmesa": ("OSMesa", "libosmesa6")}
"""By the value of the variable: the library that draws, and Debian's packages of it."""


def choose_renderer() -> None:
    """Let MuJoCo draw by EGL, or else OSMesa, where MUJOCO_GL does not say by what; and import it.

    Raises UserError, saying how to install one, where Linux has neither, or MuJoCo cannot use it.
    """
    if sys.platform == "linux" and not os.environ.get(_VARIABLE):
        found = [value for value, (library, _) in _LIBRARIES.items() if find_library(library)]
        if not found:
            raise UserError(f"Neither EGL nor OSMesa is installed: nothing can be drawn. {_advice()}")
        os.environ[_VARIABLE] = found[0]
    if find_spec("mujoco") is None:  # the simulator may be another
        return
    try:
        importlib.import_module("mujoco")  # reads the variable
    except Exception as error:  # of what it loads
        raise UserError(f"MuJoCo cannot draw ({type(error).__name__}: {error}). {_advice()}") from error


def draw_now(environment: Any) -> UInt8[np.ndarray, "height width 3"]:
    """The present state of a Gymnasium environment, whatever it was made for, as a picture.

    Raises UserError, saying what to install, where it cannot be drawn.
    """
    inner = environment.unwrapped
    # A maze keeps the robot, an environment that draws itself, inside.
    for part in (inner, *vars(inner).values()):
        if hasattr(part, "render_mode"):
            part.render_mode = "rgb_array"
    try:
        picture = np.asarray(inner.render())
    except Exception as error:  # of many libraries, and of what they load
        raise UserError(f"{inner} cannot be drawn ({type(error).__name__}: {error}). {_advice()}") from error
    if picture.ndim != 3 or picture.shape[2] != 3 or picture.dtype != np.uint8:
        raise UserError(f"{inner} gives no picture when it is asked to render one.")
    return picture


def _advice() -> str:
    ways = " or ".join(
        f"`apt-get install {package}` and {_VARIABLE}={value}" for value, (_, package) in _LIBRARIES.items()
    )
    return f"MuJoCo draws without a display by one of two libraries: {ways}. {_VARIABLE} is now " + (
        f"{os.environ[_VARIABLE]!r}." if _VARIABLE in os.environ else "not set."
    )
