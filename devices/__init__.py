"""Ports to hardware as Protocols, with adapters and shipped fakes."""
