"""`python -m pipeline bundle` of a workplace."""

from pipeline import __main__ as command


def bundled(place, out, *more):
    paths = ("--params", "params.yaml", "--models", "data/models", "--competition", "data/competition", "--format", "data/images/format.json", "--seen", "data/images/test.csv",
             "--decision", "data/report/decision.json", "--blend", "data/report/blend.json", "--submission", "submissions/submission.csv",
             "--receipt", "submissions/receipt.json", "--format", "data/images/format.json",
             "--seen", "data/images/test.csv")  # fmt: skip
    words = [word if word.startswith("--") else str(place.path(word)) for word in paths]
    command.main(["bundle", "--out", str(out), *words, *more])
    return out


def verified(place, bundle):
    bundled(place, bundle, "verify", "--zip", str(bundle), "--images", str(place.raw))
