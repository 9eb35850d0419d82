"""A site prints and parses as one string."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from saes.site import Site

TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\n"), min_size=1, max_size=20)
SITES = st.builds(
    Site,
    model=TEXT,
    hook_name=TEXT.filter(lambda text: not set(text) & set("/@?")),
    revision=st.none() | TEXT.filter(lambda text: "?" not in text),
    numerics=TEXT.filter(lambda text: "?" not in text),
)


@pytest.mark.parametrize(
    ("text", "site"),
    [
        ("gpt2/blocks.6.hook_resid_post", Site("gpt2", "blocks.6.hook_resid_post")),
        ("org/name/blocks.0.hook_mlp_out@v2", Site("org/name", "blocks.0.hook_mlp_out", "v2")),
        ("a/b@refs/pr/1?bfloat16", Site("a", "b", "refs/pr/1", "bfloat16")),
        ("/data/x%40y/m/blocks.1.hook_in", Site("/data/x@y/m", "blocks.1.hook_in")),
    ],
)
def test_prints_and_parses(text, site):
    assert str(site) == text
    assert Site.parse(text) == site


@given(SITES)
def test_every_site_parses_back(site):
    assert Site.parse(str(site)) == site


@pytest.mark.parametrize("text", ["", "gpt2", "gpt2/", "/blocks.6.hook_resid_post", "gpt2/a@", "gpt2/a?"])
def test_what_is_no_site_is_refused(text):
    with pytest.raises(ValueError, match="site"):
        Site.parse(text)


def test_impossible_parts_are_refused():
    with pytest.raises(ValueError, match="hook name"):
        Site("gpt2", "blocks/6")
    with pytest.raises(ValueError, match="revision"):
        Site("gpt2", "blocks.6.hook_resid_post", revision="")
