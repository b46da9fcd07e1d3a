"""Importing this module registers all networks, presets, solvers and shrinkage functions in codes/models/.

Any new file there, or in one of the folders, is found.
"""

import importlib
import pkgutil

import codes.models as models

for found in pkgutil.walk_packages(models.__path__, "codes.models."):
    importlib.import_module(found.name)
