"""The names of the models that the course shows."""

from __future__ import annotations

__all__ = ["PUBLISHED"]

# Models that the course shows. A name without a checksum lies inside the package; the others lie
# in the repository's book/checkpoints, and are downloaded from the state of it that belongs to the
# installed version when the package is used without it.
PUBLISHED: dict[str, str | None] = {
    "grammar-dot": None,
    "grammar-sutskever": None,
    "multi30k-dot": "4380d7f523043cd52d2f0aa3fa6b5760eeb60cb7916001bd0ddaa29f6517a1fe",
    "multi30k-cho": "1be9d5e30fd0ead2a771e6580863f6b5373eba483f111a679b83f37f7adf6939",
}
