"""Devices that run generated firmware: links, the serial protocol's client, golden vectors, a fake."""
