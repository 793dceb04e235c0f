"""Configurations of any shape merge as a straightforward merge does, and each value knows who set it."""

from __future__ import annotations

import copy
from functools import reduce

from hypothesis import given, settings
from hypothesis import strategies as st

from tracknet.configs import compose
from tracknet.configs.merging import merge
from tracknet.configs.tree import Origin, plant, write_yaml

keys = st.sampled_from(["a", "b", "model", "x1"])
leaves = st.none() | st.booleans() | st.integers(-9, 9) | st.sampled_from(["", "a b", "1e-3", "null"])
values = leaves | st.lists(leaves, max_size=3)
trees = st.dictionaries(
    keys,
    st.recursive(values, lambda inner: st.dictionaries(keys, inner, max_size=3), max_leaves=6),
    max_size=4,
)


def merged(earlier, later):
    if not (isinstance(earlier, dict) and isinstance(later, dict)):
        return copy.deepcopy(later)
    found = {key: copy.deepcopy(value) for key, value in earlier.items()}
    return found | {key: merged(earlier.get(key), value) for key, value in later.items()}


def setters(tree, name, at=()):
    """The place of each leaf of a tree -> who set it."""
    if isinstance(tree, dict):
        below = [setters(value, name, (*at, key)) for key, value in tree.items()]
        return {place: who for one in below for place, who in one.items()}
    return {at: name}


@given(st.lists(trees, min_size=1, max_size=4))
@settings(max_examples=40)
def test_trees_merge_key_by_key_and_the_last_one_wins(given_trees):
    planted = [plant(tree, Origin(str(number))) for number, tree in enumerate(given_trees)]
    notes = []
    found = reduce(lambda earlier, later: merge(earlier, later, "", notes), planted)
    expected = reduce(merged, given_trees)
    assert found.plain() == expected
    assert notes == []
    assert [one.plain() for one in planted] == given_trees
    for place in setters(expected, ""):
        node = found.child(*place)
        last = max(
            number for number, tree in enumerate(given_trees) if place in setters(tree, "") or not place
        )
        assert node.origins[-1] == Origin(str(last))
        assert [int(origin.source) for origin in node.origins] == sorted(
            int(origin.source) for origin in node.origins
        )


@given(st.lists(trees.filter(bool), min_size=1, max_size=3))
@settings(max_examples=25)
def test_files_are_put_together_in_the_order_in_which_they_are_named(tmp_path_factory, given_trees):
    folder = tmp_path_factory.mktemp("merged")
    words = []
    for number, tree in enumerate(given_trees):
        (folder / f"{number}.yaml").write_text(write_yaml(tree), encoding="utf-8")
        words.append(f"--config={folder / str(number)}.yaml")
    assert compose(words, "fit").values == reduce(merged, given_trees)
