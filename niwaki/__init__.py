"""niwaki: shape a trained deep-RL policy into one you can ship: small, fast, safe, and certified."""

from importlib.metadata import version

__version__ = version("niwaki")
