"""Tests that meet real databases and servers on this machine."""
