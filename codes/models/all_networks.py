"""Importing this module registers every network, preset, solver and shrinkage function below codes/models/."""

import importlib
import pkgutil

import codes.models as models

for package in ("paper", "tiny", "ablation"):
    for found in pkgutil.iter_modules([f"{path}/{package}" for path in models.__path__]):
        importlib.import_module(f"codes.models.{package}.{found.name}")
importlib.import_module("codes.models.classical")
