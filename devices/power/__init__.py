"""Power meters: the port, adapters for sensors, a fake."""
