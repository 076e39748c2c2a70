"""Which server an index asks for: told before the server answers with a code."""

from typing import TypeAlias

from symphonia_perf.mongo._normalise import Form

__all__ = ["Version", "missing_feature"]

Version: TypeAlias = tuple[int, int]
"""Major and minor version of a server."""


def missing_feature(form: Form, existing: Form | None, server: Version | None) -> str | None:
    """What `server` is too old for, as the end of a sentence that begins with the index.

    Args:
        form: the index as it is wanted.
        existing: the index that collMod shall change, None where it is to be created.
        server: its version, None where it is not known: then nothing is missing.
    """
    for since, feature in _features(form, existing):
        if server is not None and server < since:
            wanted, found = (".".join(map(str, version)) for version in (since, server))
            return f"needs {feature}, which MongoDB {wanted} brought: this server is {found}"
    return None


def _features(form: Form, existing: Form | None) -> list[tuple[Version, str]]:
    """The features and the versions that brought them.

    https://www.mongodb.com/docs/manual/reference/command/collMod/
    https://www.mongodb.com/docs/manual/core/indexes/index-types/index-wildcard/
    """
    features: list[tuple[Version, str]] = []
    if any("hidden" in one.options for one in (form, existing) if one):
        features.append(((4, 4), "hidden indexes"))
    if len(form.key) > 1 and any(path.endswith("$**") for path, _ in form.key):
        features.append(((7, 0), "compound wildcard indexes"))
    if existing is not None:
        if "expireAfterSeconds" in form.options.keys() - existing.options.keys():
            features.append(((5, 1), "collMod that adds an expiry"))
        if "unique" in form.options.keys() - existing.options.keys():
            features.append(((6, 0), "collMod that makes an index unique"))
    return features
