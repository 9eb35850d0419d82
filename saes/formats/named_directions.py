"""Named directions: an npz in which each array [d_in] is a direction under its name, and ``mean`` the centre of readings.

A study's diff_means.npz is one: its centre is the mean_activation.npz beside it, its site stands in study.json.
"""

from typing import Any

import numpy as np
import torch

from saes.formats.json_file import json_object
from saes.formats.layout import Layout
from saes.formats.weights_file import arrays_in
from saes.projections import Projections
from saes.site import Site

CENTRE = "mean"
"""The one name in the file that is no direction."""


def read(layout: Layout) -> tuple[Projections, dict[str, Any]]:
    """The directions in the file's order, and metadata with their names; ValueError for what is no such file."""
    rows = arrays_in(layout.weights)
    shapes = {row.shape for row in rows.values()}
    if len(shapes) != 1 or len(next(iter(shapes))) != 1 or not set(rows) - {CENTRE}:
        listed = ", ".join(f"{name} {list(row.shape)}" for name, row in list(rows.items())[:4])
        raise ValueError(
            f"expected an npz of one or more directions [d_in], each under its name; found {listed or 'nothing'}"
        )
    centre = rows.pop(CENTRE, None)
    for beside in layout.files[1:]:
        centre = arrays_in(beside).get(CENTRE, centre)
    matrix = torch.from_numpy(np.stack(list(rows.values())).astype(np.float32))
    if centre is not None and centre.shape != matrix.shape[1:]:
        raise ValueError(
            f"the centre has the shape {list(centre.shape)}, but the directions are {matrix.shape[1]} long"
        )
    dictionary = Projections(
        matrix, None if centre is None else torch.from_numpy(centre.astype(np.float32)), list(rows)
    )
    return dictionary, _metadata(layout) | {"names": list(rows), "centred": centre is not None}


def _metadata(layout: Layout) -> dict[str, Any]:
    metadata: dict[str, Any] = {"format": "named_directions"}
    study = layout.weights.with_name("study.json")
    if study.is_file():
        site = Site.parse(str(json_object(study).get("site")))
        metadata |= {"model_name": site.model, "hook_name": site.hook_name, "numerics": site.numerics}
        if site.revision is not None:
            metadata["revision"] = site.revision
    return metadata
