"""Protobuf bodies: what typed Go clients (and so ``kubectl create``) send for built-in kinds."""

from kcpctl.embedded.protobuf.decoding import decode_protobuf, is_protobuf

__all__ = ["decode_protobuf", "is_protobuf"]
