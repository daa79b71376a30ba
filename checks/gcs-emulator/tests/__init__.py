"""Tests of the emulator, over HTTP, started as other tests start it."""
