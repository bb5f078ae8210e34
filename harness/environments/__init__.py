"""Environments: reading their folders, locking, provisioning and probing them."""
