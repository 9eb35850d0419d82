"""Named specs: functions that return the settings of runs worth repeating."""

from collections.abc import Callable

from training.spec import TrainSpec


def storyteller() -> TrainSpec:
    """An SAE on the bundled model, as the demo trains it: some minutes on two CPU cores."""
    return TrainSpec(
        model="storyteller",
        hook_name="blocks.3.hook_resid_post",
        # Not seed 0: the model was trained on that very text, and the held-out quality must be on text that it never read.
        corpus="storyworld:1",
        out="checkpoints/storyteller-sae",
        sparsity="topk",
        d_sae=1024,
        k=32,
        tokens=4_000_000,
        repeats=4,
        lasting_share=0.3,
        lasting_window=12,
        lr=2e-3,
        dead_after_rows=200_000,
    )


def tiny() -> TrainSpec:
    """A run of seconds, to see that everything works; its SAE is good for nothing."""
    return TrainSpec(
        model="storyteller",
        hook_name="blocks.1.hook_resid_post",
        out="checkpoints/tiny-sae",
        d_sae=256,
        k=8,
        tokens=16_384,
        batch_rows=512,
        buffer_rows=4096,
        window_batch=8,
        scale_batches=2,
        held_out_tokens=2048,
        dead_after_rows=4096,
        journal_every=4,
    )


RECIPES: dict[str, Callable[[], TrainSpec]] = {"storyteller": storyteller, "tiny": tiny}


def recipe(name: str) -> TrainSpec:
    """The spec of that name."""
    if name not in RECIPES:
        raise ValueError(f"there is no recipe {name!r}; there are {', '.join(RECIPES)}, or give a .yaml file")
    return RECIPES[name]()
