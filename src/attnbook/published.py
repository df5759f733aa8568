"""The names of the models that the course shows."""

from __future__ import annotations

__all__ = ["PUBLISHED"]

# Models that the course shows. A name without a checksum lies inside the package; the others lie
# in the repository's book/checkpoints, and are downloaded from the state of it that belongs to the
# installed version when the package is used without it.
PUBLISHED: dict[str, str | None] = {
    "grammar-dot": None,
    "grammar-sutskever": None,
    "multi30k-dot": "52bf7e09f54242171632caa5d373225a5bbc928b6c4502072ad72681244a2cf4",
    "multi30k-cho": "c61100034d8a776aa843fb121125905b34e3ec52d0201ede66991e9aada06b0c",
}
