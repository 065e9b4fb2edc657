"""What neighbours by frozen features mean: for the folds, for the labels, for the test set. No pixels here."""

from collections.abc import Sequence

import numpy as np

from pipeline.audit.drift import Drift
from pipeline.audit.label_neighbours import Contradictions
from pipeline.competition.class_findings import NUM_SHOWN, Finding, finding

DRIFT_DEVIATIONS = 4.0  # of the AUC above chance: the highest of 580 random splits has 3.2 (docs/neighbours.md)
DRIFT_AUC = 0.6  # below, what drifts matters little however many images prove it
SUSPECT_SHARE, LEAST_SUSPECTS = 0.04, 10  # from both on suspect labels are more than what classes alike give
CLASS_MIX_SHARE = 0.5  # of what is above chance: where less is left with the classes mixed alike, they are it


def pair_findings(
    pairs: Sequence[tuple[int, int]], *, ids: Sequence[str], num_train: int, folds: Sequence[str],
    labels: Sequence[str], groups_file: str, group_column: str,
) -> list[Finding]:  # fmt: skip
    """Pairs that show one picture and that the search for copies did not find, by number: test after train.

    folds, labels: of the training images, '' for one in no fold.
    """
    trained = [pair for pair in pairs if pair[1] < num_train]
    apart = [pair for pair in trained if folds[pair[0]] != folds[pair[1]]]
    disputed = [pair for pair in trained if labels[pair[0]] != labels[pair[1]]]
    leaked = [pair for pair in pairs if pair[0] < num_train <= pair[1]]

    def named(one: int, two: int) -> str:
        return f"{ids[one]} = {ids[two]}"

    found = (
        (
            "near-copies in other folds, by features",
            [named(*pair) for pair in apart],
            f"the score is too good by them; look at the page, then copy {groups_file}, take out what is none, and set "
            f"competition.corrections to your copy and split.group: {group_column}",
        ),
        (
            "near-copies with other labels, by features",
            [f"{ids[one]} ({labels[one]}) / {ids[two]} ({labels[two]})" for one, two in disputed],
            "one of the two is wrong, or what tells the classes apart is small; look at the page",
        ),
        (
            "test images also in train, by features",
            [named(two, one) for one, two in leaked],
            "the leaderboard rewards remembering them; tell the organiser, and trust out-of-fold scores",
        ),
    )
    return [finding(kind, "warn", offenders, remedy) for kind, offenders, remedy in found if offenders]


def drifts(found: Drift) -> bool:
    """Whether there is more to it than chance, and enough to matter."""
    return found.deviations >= DRIFT_DEVIATIONS and found.auc >= DRIFT_AUC


def by_class_mix(found: Drift) -> bool:
    """Whether the test images are of the same classes' images, in another proportion."""
    return found.weighted is not None and found.weighted - 0.5 < CLASS_MIX_SHARE * (found.auc - 0.5)


def drift_findings(found: Drift | None, most: Sequence[str]) -> list[Finding]:
    """most: ids of the test images that look least like training images, these first."""
    if found is None or not drifts(found):
        return []
    auc = f"AUC {found.auc:.2f} ± {found.error:.2f} where 0.5 is chance"
    if found.weighted is not None:
        auc += f", {found.weighted:.2f} with training images weighted to the test images' mix of classes"
    if by_class_mix(found):
        kind = "test images of other classes' shares"
        remedy = "the images are alike, their classes are mixed otherwise: out-of-fold scores are of training's mix"
    else:
        kind = "test images unlike training images"
        remedy = (
            "out-of-fold scores are too good for them; look at the page for what differs (brightness, sharpness, "
            "background, which classes), check that both were stored alike, and augment by it; folds by split.group or "
            "split.time may show it in advance"
        )
    return [Finding(kind, "warn", len(found.scores), tuple(most[:NUM_SHOWN]), f"{auc}: {remedy}")]


def label_findings(found: Contradictions, ids: Sequence[str]) -> list[Finding]:
    """A warning where there are more of them than of classes that look alike, else a note."""
    if not found.found:
        return []
    many = found.share >= SUSPECT_SHARE and len(found.found) >= LEAST_SUSPECTS
    named = [f"{ids[each.row]} ({each.label}, rather {each.suggested})" for each in found.found]
    remedy = (
        f"{found.share:.1%} of those whose neighbours agree; look at the page. `python -m pipeline workbench` asks the "
        "trained models, which know more, and writes a file to make corrections of"
    )
    return [finding("labels that nearly all neighbours contradict", "warn" if many else "note", named, remedy)]


def joined_groups(groups: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """(N,) int64: a number for each image alone, or group that `groups` (N,), -1 for none, and pairs (P, 2) make."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    grouped = np.flatnonzero(groups >= 0)
    _, first, inverse = np.unique(groups[grouped], return_index=True, return_inverse=True)
    ties = np.concatenate([pairs, np.stack([grouped, grouped[first][inverse]], axis=1)])
    graph = coo_array((np.ones(len(ties), dtype=bool), tuple(ties.T)), shape=(len(groups), len(groups)))
    found: np.ndarray = connected_components(graph, directed=False)[1].astype(np.int64)
    return found


def pair_groups(pairs: np.ndarray, ids: Sequence[str]) -> dict[int, str]:
    """Number of an image -> the group that pairs (P, 2) put it in, named by its first image; none of an image alone."""
    members = np.unique(pairs)
    of = joined_groups(np.full(len(ids), -1), pairs)[members] if len(pairs) else members
    first_of = {group: member for member, group in zip(reversed(members.tolist()), reversed(of.tolist()), strict=True)}
    return {member: ids[first_of[group]] for member, group in zip(members.tolist(), of.tolist(), strict=True)}
