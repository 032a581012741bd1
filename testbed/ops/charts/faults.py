"""Checks that note what is wrong and go on."""

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[3]

faults = []
counts = {"checks": 0}


def check(good, text):
    """Notes a fault unless `good`."""
    counts["checks"] += 1
    if not good:
        faults.append(text)
