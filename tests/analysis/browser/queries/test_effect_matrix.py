"""The picture of the effect matrix is a PNG whose pixels say the effects."""

import struct
import zlib

import numpy as np

from analysis.browser.queries.effect_matrix import AWAY, TOWARDS, EffectMatrix, effect_matrix, png
from analysis.browser.queries.store import Store


def pixels_of(content):
    width, height = struct.unpack(">II", content[16:24])
    at = content.index(b"IDAT")
    (length,) = struct.unpack(">I", content[at - 4 : at])
    raw = np.frombuffer(zlib.decompress(content[at + 4 : at + 4 + length]), np.uint8).reshape(height, 1 + 4 * width)
    return raw[:, 1:].reshape(height, width, 4)


def test_the_picture_comes_back_as_it_was():
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    assert (pixels_of(png(pixels)) == pixels).all()


def test_colours_say_direction_and_size(small_study):
    import base64

    matrix = effect_matrix(Store(small_study))
    own, other = matrix.concepts.index("calm"), matrix.concepts.index("sad")
    (row,) = pixels_of(base64.b64decode(str(matrix.strip("calm")).partition(",")[2]))
    assert tuple(row[own][:3]) == TOWARDS
    assert tuple(row[other][:3]) == AWAY
    assert row[own][3] == 255
    assert 0 < row[other][3] < 128


def test_families_stand_side_by_side():
    matrix = EffectMatrix(["a"], ["a", "b", "c"], ["fear", "fear", "joy"], [[0.1, None, 0.2]], 0.2)
    assert matrix.bands == [("fear", 0.0, 2 / 3), ("joy", 2 / 3, 1.0)]
