"""Importing this module registers all networks, presets, solvers and shrinkage functions in codes/models/.

Any new file there, or in one of the folders, is found.
"""

import importlib
import pkgutil

import codes.models as models

# Modules that use networks and register none; importing them from here could be circular.
USERS = ("factory", "weights")

for found in pkgutil.walk_packages(models.__path__, "codes.models."):
    if found.name.removeprefix("codes.models.") not in (*USERS, "all_networks"):
        importlib.import_module(found.name)
