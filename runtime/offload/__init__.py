"""Representations that go on to a server: their codec, the client, and what stands in where the server fails."""
