"""The statistics of many devices: found, sorted out, added up anywhere, and looked through for sites that differ."""
